import type { ImageSignatures } from "../../api/image.ts";
import { imageSignatures } from "../../client/distribution.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import { parsePublicKey, verifyBytes } from "../../lib/signing-key.ts";
import {
  familiarName,
  findReference,
  parseReference,
  type Reference,
  referenceName,
} from "../../oci/reference.ts";
import { decodePayload } from "../../oci/simple-signing.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { textFlag } from "../flag/flags.ts";
import { readKeyFile } from "./key-file.ts";
import { registryAuthHeader, serverOfImage } from "../registry/credentials.ts";

/** Verifies the signatures of images. */
export const command: Command = {
  usage: "[OPTIONS] --key FILE IMAGE [IMAGE...]",
  operands: atLeast(1),
  flags: [textFlag("key", "Path to the public key file", { placeholder: "file" })],
  completes: "images",
  run,
};

async function run({ operands, flags, output, engine, environment }: Invocation): Promise<number> {
  const text = readKeyFile(flags, "verify image");
  const key = parsePublicKey(text);
  const transport = await engine();
  for (const image of operands) {
    const named = findReference(image);
    const headers = await registryAuthHeader(
      environment,
      named === undefined ? "" : serverOfImage(image),
    );
    const found = await imageSignatures(transport, image, { headers });
    const good = found.Signatures.filter(({ Payload, Signature }) =>
      verifyBytes(key, { bytes: Buffer.from(Payload, "base64"), signature: Signature }),
    ).filter((signature) => isFor(image, { signature, found }));
    if (good.length === 0) throw refused(image, found);
    output.err(
      `\nVerification for ${image} --\nThe following checks were performed on each of these signatures:\n` +
        "  - The cosign claims were validated\n" +
        "  - The signatures were verified against the specified public key\n\n",
    );
    const payloads = good.map(({ Payload }) => Buffer.from(Payload, "base64").toString("utf8"));
    output.out(`[${payloads.join(",")}]\n`);
  }
  return 0;
}

/** The document names this image: the digest of one of its manifests, and its repository. */
function isFor(
  image: string,
  {
    signature,
    found,
  }: {
    readonly signature: ImageSignatures["Signatures"][number];
    readonly found: ImageSignatures;
  },
): boolean {
  try {
    const signed = decodePayload(Buffer.from(signature.Payload, "base64"));
    const manifest = found.Manifests.find(({ Digest }) => Digest === signed.manifestDigest);
    // That of one platform says nothing of another.
    if (manifest === undefined || manifest.Use === "listed") return false;
    const name = findReference(image);
    // What the repository has is what others get: a signature of what stays here is none of that.
    if (manifest.Use === "here" && isPushed(name, found)) return false;
    const signedName = referenceName(parseReference(signed.reference));
    const names = manifest.Repositories.map((each) => referenceName(parseReference(each)));
    if (name !== undefined) names.push(referenceName(name));
    return names.includes(signedName);
  } catch (error) {
    if (isKind(error, "invalid-argument")) return false;
    throw error;
  }
}

function isPushed(name: Reference | undefined, { Manifests }: ImageSignatures): boolean {
  if (name === undefined) return false;
  const repositories = Manifests.flatMap(({ Repositories }) => Repositories);
  return repositories.some((each) => referenceName(parseReference(each)) === referenceName(name));
}

function refused(image: string, found: ImageSignatures): EngineError {
  const reference = findReference(image);
  const name = reference === undefined ? image : familiarName(reference);
  const reason =
    found.Signatures.length === 0
      ? "it has no signature"
      : `none of its ${found.Signatures.length} signatures is of this key and for this image`;
  return new EngineError("permission-denied", `verify ${name}: ${reason}`);
}
