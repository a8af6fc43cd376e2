import { messageOf } from "../../lib/errors.ts";
import type { ImageContext } from "../context.ts";
import type { ImageRecord } from "../image-records.ts";

type Parts = Pick<ImageContext, "index" | "content" | "snapshots">;

/** Forgets images that lack a blob or a layer; the rest is served. @returns what was dropped */
export function dropDamaged(parts: Parts): readonly string[] {
  const damaged: string[] = [];
  for (const record of parts.index.list()) {
    const reason = damageOf(parts, record);
    if (reason === undefined) continue;
    damaged.push(`${record.id}: ${reason}`);
    parts.index.remove(record.id);
  }
  return damaged;
}

function damageOf({ index, content, snapshots }: Parts, record: ImageRecord): string | undefined {
  for (const digest of [record.id, record.manifestDigest]) {
    if (content.find(digest) === undefined) return `the blob ${digest} is missing`;
  }
  const layer = record.layers.find(({ chainId }) => snapshots.find(chainId) === undefined);
  if (layer !== undefined) return `the layer ${layer.chainId} is missing`;
  try {
    index.config(record);
  } catch (error) {
    return messageOf(error);
  }
  return undefined;
}
