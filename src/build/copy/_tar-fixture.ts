/** Small archives for tests. */
import type { TarHeader } from "../../lib/tar/tar-header.ts";
import { encodeTar } from "../../lib/tar/tar-writer.ts";

/** One entry; the rest is 0 or "". */
export interface TarItem extends Partial<Omit<TarHeader, "mtimeNs" | "sizeBytes">> {
  readonly name: string;
  readonly mtimeS?: number;
  readonly content?: string;
}

/** Writes an archive. */
export function tarOf(items: readonly TarItem[]): Buffer {
  return Buffer.from(
    encodeTar(
      items.map(({ mtimeS, content, typeFlag: _flag, ...header }) => ({
        header: { ...header, mtimeNs: BigInt(mtimeS ?? 0) * 1_000_000_000n },
        ...(content === undefined ? {} : { content }),
      })),
    ),
  );
}
