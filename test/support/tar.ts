/** A tar writer that writes anything, also what no honest one would. */

/** One entry; names are written as they are given. */
export interface TarEntry {
  readonly name: string;
  /** Content of a file; its size unless `sizeBytes` says otherwise. */
  readonly content?: string | Uint8Array;
  readonly type?: "file" | "hardlink" | "symlink" | "char" | "block" | "directory" | "fifo";
  readonly link?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly device?: readonly [number, number];
  /** The size that the header claims. */
  readonly sizeBytes?: number;
}

const flags = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
} as const;
const blockBytes = 512;
/** 2026-01-01, so that the same entries make the same bytes. */
const modifiedS = 1_767_225_600;

/** Writes an archive. */
export function tar(entries: readonly TarEntry[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    const content = Buffer.from(entry.content ?? "");
    parts.push(header(entry, content.length), content);
    parts.push(Buffer.alloc((blockBytes - (content.length % blockBytes)) % blockBytes));
  }
  parts.push(Buffer.alloc(2 * blockBytes));
  return Buffer.concat(parts);
}

function header(entry: TarEntry, contentBytes: number): Buffer {
  const type = entry.type ?? "file";
  const block = Buffer.alloc(blockBytes);
  const octal = (value: number, width: number): string =>
    `${value.toString(8).padStart(width - 1, "0")}\0`;
  const fallbackMode = type === "directory" ? 0o755 : 0o644;
  block.write(entry.name, 0, 100, "utf8");
  block.write(octal(entry.mode ?? fallbackMode, 8), 100);
  block.write(octal(entry.uid ?? 0, 8), 108);
  block.write(octal(entry.gid ?? 0, 8), 116);
  block.write(octal(entry.sizeBytes ?? (type === "file" ? contentBytes : 0), 12), 124);
  block.write(octal(modifiedS, 12), 136);
  block.write("        ", 148);
  block.write(flags[type], 156);
  block.write(entry.link ?? "", 157, 100, "utf8");
  block.write("ustar\x0000", 257);
  const [major, minor] = entry.device ?? [0, 0];
  block.write(octal(major, 8), 329);
  block.write(octal(minor, 8), 337);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}
