import { decodeNumber, entryType, type Refuse, type TarBlock } from "./_tar-block.ts";
import {
  isXattrKey,
  type PaxRecord,
  paxInteger,
  paxText,
  paxTimeNs,
  xattrsOf,
} from "./_tar-pax.ts";
import { checkRuns, pairRuns, type SparseRun, sparseRunsMax } from "./_tar-sparse.ts";
import type { TarHeader } from "./tar-header.ts";

const none: ReadonlyMap<string, never> = new Map<string, never>();
const secondNs = 1_000_000_000n;
/** Records that `apply` uses up; the others are handed on. */
const usedKeys: ReadonlySet<string> = new Set([
  "path",
  "linkpath",
  "size",
  "uid",
  "gid",
  "uname",
  "gname",
  "mtime",
  "hdrcharset",
]);

interface ExtensionLimits {
  readonly nameMaxBytes: number;
}

interface ContentSize {
  readonly storedBytes: number;
  readonly gnuRealBytes: number | undefined;
}

interface Applied {
  readonly header: TarHeader;
  readonly sparse: { readonly runs: readonly SparseRun[]; readonly realBytes: number } | undefined;
}

/** What extended headers said about the next entry. */
export class TarExtensions {
  readonly #limits: ExtensionLimits;
  readonly #refuse: Refuse;
  #local = new Map<string, Buffer>();
  #longName: string | undefined;
  #longLink: string | undefined;
  #runs: SparseRun[] | undefined;
  #isPending = false;

  constructor(limits: ExtensionLimits, refuse: Refuse) {
    this.#limits = limits;
    this.#refuse = refuse;
  }

  /** Whether something waits for an entry that must come. */
  get isPending(): boolean {
    return this.#isPending;
  }

  /** Whether the next entry is a PAX 1.0 sparse file, whose map stands before its content. */
  get hasMapInContent(): boolean {
    const isFirst = this.#local.get("GNU.sparse.major")?.toString("latin1") === "1";
    return isFirst && this.#runs === undefined;
  }

  /** Takes the records of a header for the next entry. */
  setLocal(records: readonly PaxRecord[]): void {
    this.#isPending = true;
    const offsets: string[] = [];
    for (const { key, value } of records) {
      // Sparse format 0.0 repeats two keys, so that their order matters.
      const isRun = key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes";
      if (isRun) offsets.push(value.toString("latin1"));
      else this.#local.set(key, value);
    }
    if (offsets.length > 0) this.addRuns(pairRuns(offsets, this.#refuse));
    const map = this.#local.get("GNU.sparse.map")?.toString("latin1");
    if (map !== undefined) {
      this.#runs = undefined;
      this.addRuns(map === "" ? [] : pairRuns(map.split(","), this.#refuse));
    }
  }

  /** Takes GNU's long name ("L") or long link target ("K") for the next entry. */
  setLong(typeFlag: "L" | "K", content: Buffer): void {
    this.#isPending = true;
    const end = content.indexOf(0);
    const text = content.toString("latin1", 0, end < 0 ? content.length : end);
    if (typeFlag === "L") this.#longName = text;
    else this.#longLink = text;
  }

  /** Adds runs to the sparse map of the next entry. */
  addRuns(runs: readonly SparseRun[]): void {
    this.#runs ??= [];
    for (const run of runs) this.#runs.push(run);
    if (this.#runs.length > sparseRunsMax) {
      this.#refuse(`the sparse map has more than ${sparseRunsMax} runs`);
    }
  }

  /** How many lines the map before the content of a PAX 1.0 sparse file has, told by its first. */
  mapLines(content: Buffer): number {
    const count = /^(\d{1,19})\n/.exec(content.toString("latin1", 0, 20))?.[1];
    if (count === undefined) return this.#refuse("the sparse map is malformed");
    if (Number(count) > sparseRunsMax) {
      this.#refuse(`the sparse map has more than ${sparseRunsMax} runs`);
    }
    return Number(count) * 2 + 1;
  }

  /** Takes the map before the content of a PAX 1.0 sparse file. */
  takeMap(content: Buffer, lines: number): void {
    const numbers = content.toString("latin1").split("\n", lines).slice(1);
    this.addRuns(pairRuns(numbers, this.#refuse));
  }

  /** The size of what follows the header. */
  contentBytes(block: TarBlock): number {
    const record = this.#record("size");
    const sizeBytes =
      record === undefined ? block.sizeBytes : paxInteger(record, "size", this.#refuse);
    return sizeBytes < 0 ? this.#refuse("the size is negative") : sizeBytes;
  }

  /** The size of an old GNU sparse file with its holes. */
  gnuRealBytes(bytes: Buffer, at: number): number {
    return decodeNumber(bytes, { at, size: 12, what: "sparse size", refuse: this.#refuse });
  }

  /** The name that the entry will have. */
  nameOf(block: TarBlock): string {
    const record = this.#record("GNU.sparse.name") ?? this.#record("path");
    if (record !== undefined) return paxText(record, this.#refuse);
    return this.#longName ?? block.name;
  }

  /** Joins a header with all that was said about it, and forgets what held for it alone. */
  apply(block: TarBlock, size: ContentSize): Applied {
    const name = this.nameOf(block);
    const typed = entryType(block.typeFlag, name);
    const hasContent = typed === "file" || typed === "other";
    const sparse = hasContent ? this.#sparse(size) : undefined;
    const contentBytes = sparse?.realBytes ?? size.storedBytes;
    const hasLocal = this.#local.size > 0;
    const header: TarHeader = {
      name,
      linkName: this.#linkOf(block),
      type: typed,
      typeFlag: block.typeFlag,
      mode: block.mode,
      uid: this.#integer("uid", block.uid),
      gid: this.#integer("gid", block.gid),
      userName: this.#text("uname", block.userName),
      groupName: this.#text("gname", block.groupName),
      sizeBytes: hasContent ? contentBytes : 0,
      mtimeNs: this.#mtimeNs(block),
      devMajor: block.devMajor,
      devMinor: block.devMinor,
      xattrs: hasLocal ? xattrsOf(this.#local) : none,
      paxRecords: hasLocal ? this.#others() : none,
    };
    this.#check(header);
    this.#forget();
    return { header, sparse };
  }

  #check(header: TarHeader): void {
    const max = this.#limits.nameMaxBytes;
    if (header.name === "") this.#refuse("the name is empty");
    if (header.name.length > max) this.#refuse(`the name is longer than ${max} bytes`);
    if (header.linkName.length > max) this.#refuse(`the link target is longer than ${max} bytes`);
    if (header.uid < 0 || header.gid < 0) this.#refuse("the owner is negative");
    if (header.uid > 0xfffffffe || header.gid > 0xfffffffe)
      this.#refuse("the owner is out of range");
  }

  #sparse(size: ContentSize): Applied["sparse"] {
    const runs = this.#runs;
    if (runs === undefined) return undefined;
    const record = this.#record("GNU.sparse.realsize") ?? this.#record("GNU.sparse.size");
    const realBytes =
      size.gnuRealBytes ??
      (record === undefined
        ? this.#refuse("the sparse map has no size")
        : paxInteger(record, "sparse size", this.#refuse));
    checkRuns(runs, { realBytes, storedBytes: size.storedBytes, refuse: this.#refuse });
    return { runs, realBytes };
  }

  #linkOf(block: TarBlock): string {
    if (block.typeFlag !== "1" && block.typeFlag !== "2") return "";
    return this.#text("linkpath", this.#longLink ?? block.linkName);
  }

  #mtimeNs(block: TarBlock): bigint {
    const record = this.#record("mtime");
    if (record !== undefined) return paxTimeNs(record, this.#refuse);
    return BigInt(block.mtimeSeconds) * secondNs;
  }

  #text(key: string, otherwise: string): string {
    const record = this.#record(key);
    return record === undefined ? otherwise : paxText(record, this.#refuse);
  }

  #integer(key: string, otherwise: number): number {
    const record = this.#record(key);
    return record === undefined ? otherwise : paxInteger(record, key, this.#refuse);
  }

  #record(key: string): Buffer | undefined {
    const record = this.#local.get(key);
    return record === undefined || record.length === 0 ? undefined : record;
  }

  #others(): Map<string, string> {
    const others = new Map<string, string>();
    for (const [key, value] of this.#local) {
      if (usedKeys.has(key) || isXattrKey(key) || value.length === 0) continue;
      others.set(key, value.toString("latin1"));
    }
    return others;
  }

  #forget(): void {
    if (!this.#isPending && this.#runs === undefined) return;
    this.#local = new Map();
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#runs = undefined;
    this.#isPending = false;
  }
}
