/** The sending end of a folder: the protocol alone; whoever has the files gives them. */
import { EngineError, messageOf } from "../../lib/errors.ts";
import { Semaphore } from "../../lib/concurrency/semaphore.ts";
import { type FileStat, kindOfGoMode, type Packet, packetType } from "./fsutil.ts";

/** Where packets go and come from: a call of either side. */
export interface PacketPort {
  send(packet: Partial<Packet>): Promise<void>;
  /** Undefined when the other side has ended. */
  next(): Promise<Packet | undefined>;
  /** The next packet when it is here already. */
  queued?(): Packet | undefined;
}

/** A folder to send. */
export interface FolderSource {
  /** All files, a folder before what is in it, in the order of `comparePaths`. */
  walk(): AsyncIterable<FileStat>;
  /** The content of a regular file, in pieces of at most some 100 KB. They are the caller's: what is
   * sent leaves later than it is given. */
  read(path: string): AsyncIterable<Uint8Array>;
}

/** Files that are read at the same time. */
const readCountMax = 4;

/**
 * Sends a folder, as far as the receiver asks for it.
 *
 * A file that has gone since the walk is sent as empty.
 *
 * @throws data-loss when the receiver breaks the protocol, what it told as its failure, or what
 *   reading the folder threw
 */
export async function sendFolder(port: PacketPort, source: FolderSource): Promise<void> {
  const sender = new FolderSender(port, source);
  await sender.run();
}

class FolderSender {
  readonly #port: PacketPort;
  readonly #source: FolderSource;
  /** Paths of regular files by number, until they are asked for. */
  readonly #files = new Map<number, string>();
  readonly #readers = new Semaphore(readCountMax);
  #failure: unknown;

  constructor(port: PacketPort, source: FolderSource) {
    this.#port = port;
    this.#source = source;
  }

  async run(): Promise<void> {
    const walked = this.#walk().catch((error: unknown) => this.#fail(error));
    const sending = new Set<Promise<void>>();
    let isFinished = false;
    for (
      let packet = await this.#port.next();
      packet !== undefined;
      packet = await this.#port.next()
    ) {
      if (packet.type === packetType.finish) {
        isFinished = true;
        break;
      }
      if (packet.type === packetType.error) {
        throw new EngineError("conflict", `error from receiver: ${textOf(packet.data)}`);
      }
      if (packet.type !== packetType.request) continue;
      const { id } = packet;
      const task = this.#sendFile(id)
        .catch((error: unknown) => this.#fail(error))
        .finally(() => sending.delete(task));
      sending.add(task);
    }
    await walked;
    await Promise.all(sending);
    if (this.#failure !== undefined) throw this.#failure;
    if (!isFinished) {
      throw new EngineError("data-loss", "send folder: the receiver ended before it had all");
    }
    await this.#port.send({ type: packetType.finish });
  }

  async #walk(): Promise<void> {
    let id = 0;
    for await (const stat of this.#source.walk()) {
      if (kindOfGoMode(stat.mode) === "file") this.#files.set(id, stat.path);
      id += 1;
      await this.#port.send({ type: packetType.stat, stat });
    }
    await this.#port.send({ type: packetType.stat });
  }

  async #sendFile(id: number): Promise<void> {
    const path = this.#files.get(id);
    if (path === undefined) {
      throw new EngineError("data-loss", `send folder: the receiver asked for file ${id}`);
    }
    this.#files.delete(id);
    await this.#readers.run(async () => {
      for await (const data of this.#source.read(path)) {
        if (data.length > 0) await this.#port.send({ type: packetType.data, id, data });
      }
      await this.#port.send({ type: packetType.data, id });
    });
  }

  /** Tells the receiver, who ends the call; the first failure is what `run` throws. */
  async #fail(error: unknown): Promise<void> {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    const data = Buffer.from(messageOf(error));
    // A receiver that is gone need not be told.
    await this.#port.send({ type: packetType.error, data }).catch(() => undefined);
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}
