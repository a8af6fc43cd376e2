import { fstatSync, readSync, writeSync } from "node:fs";
import { resultCode, setSize } from "../../snapshot/tree/tree-syscalls.ts";
import { cloneFile, copyRange, must, seek } from "../tree/calls.ts";

/** Most bytes of one call. */
const copyChunkBytes = 64 * 1024 * 1024;
const bufferBytes = 1024 * 1024;

/** Copies content from open file to open file; remembers what the two file systems can do. */
export class FileData {
  #canClone = true;
  #canCopyRange = true;
  #buffer: Buffer | undefined;

  /**
   * Copies all of `from` into the empty file `to`; blocks are shared where that works, holes stay
   * holes. A file that shrinks meanwhile is copied as far as it goes.
   *
   * @returns bytes of the copy
   */
  copy(from: number, to: number): number {
    const { size, blocks } = fstatSync(from);
    if (size === 0) return 0;
    if (this.#canClone) {
      if (cloneFile(from, to)) return fstatSync(to).size;
      this.#canClone = false;
    }
    if (blocks * 512 >= size) return this.#range(from, to, { start: 0, end: size });
    for (let end = 0; end < size; ) {
      const start = seek(from, end, "data");
      if (start < 0 && resultCode(start) === "ENXIO") break;
      must(start, "look for data");
      end = Math.min(must(seek(from, start, "hole"), "look for a hole"), size);
      this.#range(from, to, { start, end });
    }
    must(setSize(to, size), "set file size");
    return size;
  }

  #range(
    from: number,
    to: number,
    range: { readonly start: number; readonly end: number },
  ): number {
    let offset = range.start;
    while (offset < range.end) {
      const sizeBytes = Math.min(copyChunkBytes, range.end - offset);
      const count = this.#chunk({ from, to }, { offset, sizeBytes });
      if (count === 0) break;
      offset += count;
    }
    return offset;
  }

  #chunk(
    files: { readonly from: number; readonly to: number },
    range: { readonly offset: number; readonly sizeBytes: number },
  ): number {
    if (this.#canCopyRange) {
      const count = copyRange(files, range);
      if (count >= 0) return count;
      const code = resultCode(count);
      if (!["EXDEV", "EINVAL", "EOPNOTSUPP", "ENOSYS"].includes(code)) {
        return must(count, "copy file content");
      }
      this.#canCopyRange = false;
    }
    this.#buffer ??= Buffer.alloc(bufferBytes);
    const want = Math.min(bufferBytes, range.sizeBytes);
    const count = readSync(files.from, this.#buffer, 0, want, range.offset);
    for (let written = 0; written < count; ) {
      const at = range.offset + written;
      written += writeSync(files.to, this.#buffer, written, count - written, at);
    }
    return count;
  }
}
