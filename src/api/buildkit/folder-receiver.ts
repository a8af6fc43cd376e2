/** The receiving end of a folder: the protocol and its bounds; whoever wants the files takes them. */
import { withDeadline } from "../../lib/concurrency/deadline.ts";
import { EngineError } from "../../lib/errors.ts";
import { comparePaths, type FileStat, kindOfGoMode, type Packet, packetType } from "./fsutil.ts";
import type { PacketPort } from "./folder-sender.ts";

/** Who takes a folder in. Called in the order of the stats, and never twice at a time. */
export interface FolderSink {
  /** Takes a file's stat. @returns whether its content is wanted; of regular files alone */
  add(stat: FileStat): boolean;
  /** No more stats will come: what is not among them is not in the folder. */
  endOfStats(): void;
  /** Takes a piece of a file's content. */
  write(stat: FileStat, chunk: Uint8Array): void;
  /** A file's content is whole. */
  endOfFile(stat: FileStat): void;
}

/** Bounds of what is received. */
export interface ReceiveLimits {
  readonly fileCountMax: number;
  /** How long the sender may be silent. */
  readonly silenceMaxMs: number;
  /** Told of the bytes that have come so far, a few times a second, and at the end. */
  readonly onProgress?: (currentBytes: number) => void;
}

/** Bounds that no honest folder meets. */
export const receiveLimits: ReceiveLimits = {
  fileCountMax: 1_000_000,
  silenceMaxMs: 60_000,
};

/** Files that are asked for and not yet here. */
const requestCountMax = 64;
const progressPeriodMs = 100;
/** Linux limits.h: PATH_MAX and NAME_MAX. */
const pathMaxBytes = 4096;
const nameMaxBytes = 255;

/**
 * Receives a folder.
 *
 * @throws invalid-argument when a path is none, comes out of order, or is too much
 * @throws deadline-exceeded when the sender is silent for too long
 * @throws what the sender told as its failure, and what the sink throws
 */
export async function receiveFolder(
  port: PacketPort,
  sink: FolderSink,
  limits: ReceiveLimits = receiveLimits,
): Promise<ReceivedFolder> {
  const receiver = new FolderReceiver({ port, sink, limits });
  return await receiver.run();
}

/** What a transfer came to. */
export interface ReceivedFolder {
  readonly fileCount: number;
  /** Files whose content was sent. */
  readonly sentCount: number;
  readonly sentBytes: number;
}

interface Pieces {
  readonly port: PacketPort;
  readonly sink: FolderSink;
  readonly limits: ReceiveLimits;
}

class FolderReceiver {
  readonly #port: PacketPort;
  readonly #sink: FolderSink;
  readonly #limits: ReceiveLimits;
  readonly #wanted: (readonly [id: number, stat: FileStat])[] = [];
  #wantedAt = 0;
  readonly #requested = new Map<number, FileStat>();
  #fileCount = 0;
  #sentCount = 0;
  #sentBytes = 0;
  /** With the stats, as clients count. */
  #cameBytes = 0;
  #toldMs = 0;
  #lastPath = "";
  #hasAllStats = false;
  #isFinishing = false;
  #sendFailure: unknown;

  constructor({ port, sink, limits }: Pieces) {
    this.#port = port;
    this.#sink = sink;
    this.#limits = limits;
  }

  async run(): Promise<ReceivedFolder> {
    for (;;) {
      const packet = this.#port.queued?.() ?? (await this.#next());
      if (packet === undefined) throw new EngineError("data-loss", "receive folder: ended early");
      if (packet.type === packetType.finish) break;
      this.#take(packet);
      this.#ask();
      if (this.#sendFailure !== undefined) throw this.#sendFailure;
    }
    if (!this.#isFinishing) {
      throw new EngineError("data-loss", "receive folder: the sender ended before all was here");
    }
    this.#limits.onProgress?.(this.#cameBytes);
    return {
      fileCount: this.#fileCount,
      sentCount: this.#sentCount,
      sentBytes: this.#sentBytes,
    };
  }

  async #next(): Promise<Packet | undefined> {
    const { silenceMaxMs } = this.#limits;
    const sentence = `receive folder: the client sent nothing for ${silenceMaxMs / 1000} seconds`;
    return await withDeadline(this.#port.next(), silenceMaxMs, sentence);
  }

  #take(packet: Packet): void {
    this.#tell(packet);
    switch (packet.type) {
      case packetType.stat:
        this.#takeStat(packet.stat);
        break;
      case packetType.data:
        this.#takeData(packet);
        break;
      case packetType.error:
        throw new EngineError("conflict", `error from sender: ${textOf(packet.data)}`);
      default:
        break;
    }
  }

  #tell(packet: Packet): void {
    const { onProgress } = this.#limits;
    if (onProgress === undefined) return;
    this.#cameBytes +=
      packet.data.length + (packet.stat === undefined ? 0 : statBytes(packet.stat));
    const nowMs = performance.now();
    if (nowMs - this.#toldMs < progressPeriodMs) return;
    this.#toldMs = nowMs;
    onProgress(this.#cameBytes);
  }

  #takeStat(stat: FileStat | undefined): void {
    if (this.#hasAllStats) throw broken("a file came after the last one");
    if (stat === undefined) {
      this.#hasAllStats = true;
      this.#sink.endOfStats();
      return;
    }
    if (this.#fileCount >= this.#limits.fileCountMax) {
      throw broken(`more than ${this.#limits.fileCountMax} files`);
    }
    checkPath(stat.path, "path");
    if (this.#fileCount > 0 && comparePaths(this.#lastPath, stat.path) >= 0) {
      throw broken(`${shown(stat.path)} came after ${shown(this.#lastPath)}`);
    }
    const isFile = kindOfGoMode(stat.mode) === "file";
    if (isFile && stat.linkname !== "") {
      checkPath(stat.linkname, "link");
      if (comparePaths(stat.linkname, stat.path) >= 0) {
        throw broken(`${shown(stat.path)} is a link to what comes after it`);
      }
    }
    this.#lastPath = stat.path;
    const id = this.#fileCount;
    this.#fileCount += 1;
    if (this.#sink.add(stat) && isFile) this.#wanted.push([id, stat]);
  }

  #takeData(packet: Packet): void {
    const stat = this.#requested.get(packet.id);
    if (stat === undefined) throw broken(`content of file ${packet.id}, which nobody asked for`);
    if (packet.data.length > 0) {
      this.#sentBytes += packet.data.length;
      this.#sink.write(stat, packet.data);
      return;
    }
    this.#requested.delete(packet.id);
    this.#sentCount += 1;
    this.#sink.endOfFile(stat);
  }

  /** Asks for as many files as may be under way; for the end when all are here. */
  #ask(): void {
    while (this.#requested.size < requestCountMax) {
      const next = this.#wanted[this.#wantedAt];
      if (next === undefined) break;
      this.#wantedAt += 1;
      const [id, stat] = next;
      this.#requested.set(id, stat);
      this.#send({ type: packetType.request, id });
    }
    const isWhole = this.#requested.size === 0 && this.#wantedAt === this.#wanted.length;
    if (!this.#hasAllStats || !isWhole || this.#isFinishing) return;
    this.#isFinishing = true;
    this.#send({ type: packetType.finish });
  }

  /** Requests are few and small: reading goes on while they leave. */
  #send(packet: Partial<Packet>): void {
    this.#port.send(packet).catch((error: unknown) => {
      this.#sendFailure ??= error;
    });
  }
}

/** About what a stat takes on the wire. */
function statBytes(stat: FileStat): number {
  return stat.path.length + stat.linkname.length + 24;
}

/** A path below the folder, or the name of nothing. */
function checkPath(path: string, what: string): void {
  if (path === "" || path.length > pathMaxBytes || path.includes("\0")) {
    throw broken(`${shown(path)} is no ${what}`);
  }
  for (const part of path.split("/")) {
    if (part === "" || part === "." || part === ".." || part.length > nameMaxBytes) {
      throw broken(`${shown(path)} is no ${what} in the folder`);
    }
  }
}

function broken(reason: string): EngineError {
  return new EngineError("invalid-argument", `receive folder: ${reason}`);
}

/** A path in an error: as text, and not all of a long one. */
function shown(path: string): string {
  const text = Buffer.from(path, "latin1").toString();
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}
