import { EngineError, messageOf } from "../../lib/errors.ts";
import type { Digest } from "../../oci/digest.ts";
import { familiarName, familiarString, type Reference } from "../../oci/reference.ts";
import type { ImageRecord } from "../image-records.ts";
import type { PushOptions } from "../image-service.ts";
import type { ImageContext } from "../context.ts";

/**
 * Stores the signatures that are kept here for manifests beside them, in the registry that has them.
 *
 * Says so when those of the image are for other manifests: nobody elsewhere would find them.
 */
export async function publishSignatures(
  context: ImageContext,
  push: PushOptions & {
    readonly reference: Reference;
    readonly record: ImageRecord;
    readonly digests: readonly Digest[];
  },
): Promise<void> {
  const { record, digests, reference, progress } = push;
  let count = 0;
  for (const digest of digests) count += await publishOne(context, { ...push, digest });
  if (count > 0 || (context.signatures?.list(record.manifestDigest).length ?? 0) === 0) return;
  progress({
    status: `${familiarString(reference)} is signed here and not in the registry: sign it once more`,
  });
}

/** @returns how many there are */
async function publishOne(
  { signatures }: ImageContext,
  push: PushOptions & { readonly reference: Reference; readonly digest: Digest },
): Promise<number> {
  const { reference, digest, credentials, signal, progress } = push;
  const count = signatures?.list(digest).length ?? 0;
  if (signatures === undefined || count === 0) return 0;
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
  return count;
}
