import { closeSync, constants, openSync, readlinkSync } from "node:fs";
import { codeOf, EngineError } from "../../lib/errors.ts";
import { tarBlockBytes, tarPaddingBytes } from "../../lib/tar/tar-header.ts";
import { encodeTarHeader, type TarHeaderInput } from "../../lib/tar/tar-writer.ts";
import { type FileFacts, factsOf } from "../../sys/fs/fs.ts";
import { openFlags } from "../../sys/libc.ts";
import { opaqueMarker, whiteoutPrefix } from "../tree/layer-names.ts";
import { readLayerXattrs } from "../tree/layer-xattrs.ts";
import { type ArchiveSink, TarOutput } from "./_tar-output.ts";

const secondNs = 1_000_000_000n;
const fileFlags =
  constants.O_RDONLY | openFlags.noFollow | constants.O_NONBLOCK | openFlags.closeOnExec;

/** A file to write: where it lies now, and what it is. */
export interface TreeEntry {
  /** Its path in the archive, a byte string without "/" at either end. */
  readonly path: string;
  /** Where it is read: a path through an open folder, whose last part is no link to follow. */
  readonly at: Buffer;
  readonly stat: FileFacts;
  /** Names of all its extended attributes, where they are known already. */
  readonly xattrNames?: readonly string[] | undefined;
  /** A regular file, open for reading; the giver's to close. */
  readonly fd?: number | undefined;
}

/** How entries are written. */
export interface LayerTarOptions {
  /** Seconds since 1970; later times are written as this one. */
  readonly epochS?: number;
}

/**
 * Writes files as entries of a layer, in the order given: the same files make the same bytes.
 *
 * Times are whole seconds. Docker: the same, seen in 28.5. A file that has several names in the
 * archive is written once, the others as links to the first. Sockets are left out, and names that
 * a reader would take for whiteouts.
 */
export class LayerTarWriter {
  readonly #output: TarOutput;
  readonly #epochNs: bigint | undefined;
  /** Device and inode of a file with several names → its first path. */
  readonly #links = new Map<string, string>();
  #sizeBytes = 0;
  #entryCount = 0;

  constructor(sink: ArchiveSink, options: LayerTarOptions = {}) {
    this.#output = new TarOutput(sink);
    const { epochS } = options;
    this.#epochNs = epochS === undefined ? undefined : BigInt(epochS) * secondNs;
  }

  /** Bytes of the archive so far. */
  get tarSizeBytes(): number {
    return this.#output.sizeBytes;
  }

  /** Bytes of all files together. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get entryCount(): number {
    return this.#entryCount;
  }

  /** A file of any kind, a folder without what is in it. What vanished meanwhile is left out. */
  entry(entry: TreeEntry): void {
    const { stat, path } = entry;
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (stat.isSocket() || name.startsWith(whiteoutPrefix)) return;
    if (!stat.isDirectory() && stat.nlink > 1n && this.#link(entry)) return;
    if (stat.isFile()) this.#file(entry);
    else this.#header(stat, { ...headerOf(entry), xattrs: xattrsOf(entry) });
  }

  /** Says that `path` of the layers below is gone. */
  whiteout(path: string): void {
    const cut = path.lastIndexOf("/") + 1;
    this.#marker(`${path.slice(0, cut)}${whiteoutPrefix}${path.slice(cut)}`);
  }

  /** Says that nothing of the layers below shows in the folder `path`. */
  opaque(path: string): void {
    this.#marker(path === "" ? opaqueMarker : `${path}/${opaqueMarker}`);
  }

  /** Ends the archive. */
  end(): void {
    this.#output.zeros(2 * tarBlockBytes);
    this.#output.flush();
  }

  /** Markers have no time of their own: the kernel's would differ from run to run. */
  #marker(name: string): void {
    this.#entryCount += 1;
    this.#output.write(encodeTarHeader({ name, mode: 0 }));
  }

  #link({ stat, path }: TreeEntry): boolean {
    const key = `${stat.dev}:${stat.ino}`;
    const first = this.#links.get(key);
    if (first === undefined) {
      this.#links.set(key, path);
      return false;
    }
    this.#header(stat, { name: path, type: "hardlink", linkName: first });
    return true;
  }

  #file(entry: TreeEntry): void {
    if (entry.fd !== undefined) {
      this.#openFile(entry, entry.fd);
      return;
    }
    const fd = openExisting(entry.at);
    if (fd === undefined) return;
    try {
      this.#openFile(entry, fd);
    } finally {
      closeSync(fd);
    }
  }

  #openFile(entry: TreeEntry, fd: number): void {
    const stat = factsOf(fd);
    if (!stat.isFile()) {
      throw new EngineError("conflict", "write layer: a file changed while it was read");
    }
    const sizeBytes = Number(stat.size);
    this.#header(stat, { name: entry.path, type: "file", sizeBytes, xattrs: xattrsOf(entry) });
    this.#sizeBytes += sizeBytes;
    this.#content(fd, sizeBytes);
    this.#output.zeros(tarPaddingBytes(sizeBytes));
  }

  /** Exactly as many bytes as the header says: what grows is cut, what shrinks ends in zeros. */
  #content(fd: number, sizeBytes: number): void {
    const count = this.#output.readFile(fd, sizeBytes);
    this.#output.zeros(sizeBytes - count);
  }

  #header(stat: FileFacts, header: TarHeaderInput): void {
    this.#entryCount += 1;
    const attributes = {
      mode: Number(stat.mode) & 0o7777,
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      mtimeNs: this.#timeOf(stat.mtimeNs),
    };
    this.#output.write(encodeTarHeader({ ...attributes, ...header }));
  }

  #timeOf(mtimeNs: bigint): bigint {
    // The second begun last, also before 1970.
    const whole = mtimeNs - (((mtimeNs % secondNs) + secondNs) % secondNs);
    return this.#epochNs !== undefined && whole > this.#epochNs ? this.#epochNs : whole;
  }
}

function xattrsOf({ at, xattrNames }: TreeEntry): ReadonlyMap<string, Uint8Array> {
  return readLayerXattrs(at, xattrNames);
}

/** Name and kind of what is no regular file. */
function headerOf({ path, at, stat }: TreeEntry): TarHeaderInput {
  if (stat.isDirectory()) return { name: path === "" ? "./" : `${path}/`, type: "directory" };
  if (stat.isSymbolicLink()) {
    const linkName = readlinkSync(at, { encoding: "buffer" }).toString("latin1");
    return { name: path, type: "symlink", linkName };
  }
  if (stat.isFIFO()) return { name: path, type: "fifo" };
  const type = stat.isCharacterDevice() ? "char" : "block";
  return { name: path, type, ...devicePartsOf(stat.rdev) };
}

function openExisting(path: Buffer): number | undefined {
  try {
    return openSync(path, fileFlags);
  } catch (error) {
    // A tree in use: the file is gone, or a link stands in its place.
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ELOOP") return undefined;
    throw error;
  }
}

/** Major and minor of a device number, as glibc's `gnu_dev_major` and `gnu_dev_minor`. */
function devicePartsOf(device: bigint): { readonly devMajor: number; readonly devMinor: number } {
  return {
    devMajor: Number(((device >> 32n) & 0xfffff000n) | ((device >> 8n) & 0xfffn)),
    devMinor: Number(((device >> 12n) & 0xffffff00n) | (device & 0xffn)),
  };
}
