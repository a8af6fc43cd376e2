import { EngineError, messageOf } from "../../lib/errors.ts";
import type { Digest } from "../../oci/digest.ts";
import { familiarName, type Reference } from "../../oci/reference.ts";
import type { PushOptions } from "../image-service.ts";
import type { ImageContext } from "../context.ts";

/** Stores the signatures that are kept here for a manifest beside it, in the registry that has it. */
export async function publishSignatures(
  { signatures }: ImageContext,
  push: PushOptions & { readonly reference: Reference; readonly digest: Digest },
): Promise<void> {
  const { reference, digest, credentials, signal, progress } = push;
  const count = signatures?.list(digest).length ?? 0;
  if (signatures === undefined || count === 0) return;
  try {
    await signatures.push(reference, {
      digest,
      ...(credentials === undefined ? {} : { credentials }),
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    if (signal?.aborted === true) throw error;
    throw new EngineError(
      error instanceof EngineError ? error.kind : "internal",
      `store the signatures of ${digest} in ${familiarName(reference)}: ${messageOf(error)}`,
      { cause: error },
    );
  }
  progress({ status: `${digest}: ${count} signature${count === 1 ? "" : "s"} beside it` });
}
