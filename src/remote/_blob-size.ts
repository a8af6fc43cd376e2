import { EngineError } from "../lib/errors.ts";
import type { Digest } from "../oci/digest.ts";
import type { Reference } from "../oci/reference.ts";
import { pullScope } from "./_manifests.ts";
import type { RegistryCall } from "./registry-client.ts";
import type { RegistrySession } from "./session/registry-session.ts";

/** Asks for the length of a blob; undefined when it is not there. @throws unavailable when it is not told */
export async function findBlobSize(
  session: RegistrySession,
  target: {
    readonly reference: Reference;
    readonly call: RegistryCall;
    readonly digest: Digest;
  },
): Promise<number | undefined> {
  const { reference, digest } = target;
  const { credentials, signal } = target.call;
  const answer = await session.send({
    method: "HEAD",
    path: `v2/${reference.path}/blobs/${digest}`,
    scopes: [pullScope(reference.path)],
    credentials,
    signal,
    taken: [404],
  });
  answer.close();
  if (answer.status === 404) return undefined;
  const text = answer.header("content-length") ?? "";
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new EngineError("unavailable", `blob ${digest}: the registry does not say how large it is`);
}
