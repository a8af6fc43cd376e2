import type { TarHeader } from "../../lib/tar/tar-header.ts";
import type { EntrySink } from "../../lib/tar/tar-reader.ts";
import { failure } from "../tree/entry-failure.ts";
import * as tree from "../tree/tree-syscalls.ts";

/** Takes the content of one file after the other. */
export class FileSink implements EntrySink {
  readonly #finish: (fd: number, header: TarHeader) => void;
  #fd = -1;
  #header: TarHeader | undefined;
  #endsInHole = false;

  constructor(finish: (fd: number, header: TarHeader) => void) {
    this.#finish = finish;
  }

  open(fd: number, header: TarHeader): void {
    this.#fd = fd;
    this.#header = header;
    this.#endsInHole = false;
  }

  write(bytes: Uint8Array): void {
    this.#endsInHole = false;
    this.#check(tree.writeAll(this.#fd, bytes));
  }

  hole(sizeBytes: number): void {
    this.#endsInHole = sizeBytes > 0;
    this.#check(tree.skipForward(this.#fd, sizeBytes));
  }

  end(): void {
    const header = this.#header;
    if (header === undefined) return;
    if (this.#endsInHole) this.#check(tree.setSize(this.#fd, header.sizeBytes));
    this.#finish(this.#fd, header);
    this.abandon();
  }

  abandon(): void {
    if (this.#fd >= 0) tree.closeFd(this.#fd);
    this.#fd = -1;
    this.#header = undefined;
  }

  #check(value: tree.CallResult): void {
    if (value < 0 && this.#header !== undefined) throw failure(this.#header, value);
  }
}
