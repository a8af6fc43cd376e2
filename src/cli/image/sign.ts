import type { ImageSignatures } from "../../api/image.ts";
import { addSignature, imageSignatures } from "../../client/distribution.ts";
import { EngineError } from "../../lib/errors.ts";
import { openPrivateKey, signBytes } from "../../lib/signing-key.ts";
import { parseDigest } from "../../oci/digest.ts";
import { findReference, parseReference, referenceName } from "../../oci/reference.ts";
import { encodePayload, type SignedImage } from "../../oci/simple-signing.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { listFlag, textFlag } from "../flag/flags.ts";
import { readKeyFile } from "./key-file.ts";
import { registryAuthHeader, serverOfImage } from "../registry/credentials.ts";
import { signingPassword } from "./signing-password.ts";

/** Signs images with a private key. */
export const command: Command = {
  usage: "[OPTIONS] --key FILE IMAGE [IMAGE...]",
  operands: atLeast(1),
  flags: [
    listFlag("annotations", "Extra key=value pairs to sign", { short: "a" }),
    textFlag("key", "Path to the private key file", { placeholder: "file" }),
  ],
  details:
    "The signature is in the form of cosign and kept beside the image: here, and in the registry\n" +
    "that has the image. Of one that was not pushed yet it goes there with the push.",
  completes: "images",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { operands, flags, output, engine } = invocation;
  const text = readKeyFile(flags, "sign image");
  const key = openPrivateKey(
    text,
    await signingPassword(invocation, "Enter password for private key: "),
  );
  const optional = annotationsOf(flags.list("annotations"));
  const transport = await engine();
  for (const image of operands) {
    const named = findReference(image);
    const headers = await registryAuthHeader(
      invocation.environment,
      named === undefined ? "" : serverOfImage(image),
    );
    const found = await imageSignatures(transport, image, { headers, packs: true });
    const wanted = signedImages(image, found);
    for (const { signed, use } of wanted) {
      const payload = encodePayload(signed, optional);
      const signature = {
        Payload: Buffer.from(payload).toString("base64"),
        Signature: signBytes(key, payload),
      };
      await addSignature(transport, image, { signature, headers });
      if (use !== "here") output.out(`${signed.reference}@${signed.manifestDigest}\n`);
    }
    if (wanted.some(({ use }) => use === "push")) {
      output.err(`${image} is not in its registry yet: the signature goes there with the push\n`);
    }
  }
  return 0;
}

interface Wanted {
  readonly signed: SignedImage;
  readonly use: ImageSignatures["Manifests"][number]["Use"];
}

/**
 * What is signed: the manifests that the named repository has, an index with all that it names, since other
 * tools look for the signature of the one that they run; where it has none, what a push will make, and the
 * one that is here. Other repositories that have the image are not spoken for.
 */
function signedImages(image: string, { Manifests }: ImageSignatures): readonly Wanted[] {
  const named = findReference(image);
  if (named === undefined) {
    throw new EngineError("invalid-argument", `sign ${image}: sign it by a name, not by its ID`);
  }
  const repository = referenceName(named);
  const there = Manifests.filter(({ Repositories }) =>
    Repositories.some((each) => referenceName(parseReference(each)) === repository),
  );
  const next = Manifests.filter((manifest, at) => at === 0 || manifest.Use === "push");
  // cosign calls Docker Hub by its older name.
  const reference = repository.replace(/^docker\.io\//, "index.docker.io/");
  return (there.length > 0 ? there : next).map(({ Digest, Use }) => ({
    signed: { reference, manifestDigest: parseDigest(Digest) },
    use: Use,
  }));
}

function annotationsOf(texts: readonly string[]): Readonly<Record<string, string>> | undefined {
  if (texts.length === 0) return undefined;
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf("=");
      if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
      throw new EngineError(
        "invalid-argument",
        `sign image: annotation ${JSON.stringify(text)}: key=value is wanted`,
      );
    }),
  );
}
