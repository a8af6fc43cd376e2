import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { socketTakerOf, type TakenSocket } from "../lib/socket-taker.ts";

/** Two streams to join, and bytes of the client's that were read already. */
interface Join {
  readonly client: Duplex;
  readonly process: Duplex;
  readonly early: Buffer;
}

/** After so many bytes there are likely to be many more: it pays to have nobody in between. */
const passedMaxBytes = 1024 * 1024;

/**
 * Joins a client to a process until the process's output has ended and reached the client.
 *
 * The client's half-close ends stdin only. A client that is lost is detached; the process stays.
 * Either side that is slow holds the other back. Where much is passed, and the process's side can, it
 * is given the client's socket, and passes the rest itself.
 */
export async function joinStreams(join: Join): Promise<void> {
  await new Promise<void>((resolve) => new Joint(join, resolve).start());
}

class Joint {
  readonly #client: Duplex;
  readonly #process: Duplex;
  readonly #early: Buffer;
  readonly #onOver: () => void;
  #inputBytes = 0;
  #outputBytes = 0;
  #hasAsked = false;
  /** Taken by the process's side, which waits for what is still on its way. */
  #taken: TakenSocket | undefined;
  #isGiven = false;
  /** The output has ended on the way by here. */
  #isOver = false;

  constructor({ client, process, early }: Join, onOver: () => void) {
    this.#client = client;
    this.#process = process;
    this.#early = early;
    this.#onOver = onOver;
  }

  start(): void {
    const [client, process] = [this.#client, this.#process];
    client.on("data", (chunk: Buffer) => {
      if (!this.#isGiven && !this.#input(chunk)) client.pause();
    });
    process.on("drain", () => {
      if (this.#taken === undefined) client.resume();
    });
    client.on("end", () => {
      if (!this.#isGiven) process.end();
    });
    client.on("error", () => this.#clientLost());
    client.on("close", () => this.#clientLost());

    process.on("data", (chunk: Buffer) => this.#output(chunk));
    client.on("drain", () => process.resume());
    process.on("end", () => this.#outputOver(true));
    process.on("error", () => this.#outputOver(false));
    process.on("close", () => this.#outputOver(false));
    if (this.#early.length > 0) this.#input(this.#early);
    // What has ended before anybody listened here does not say so again.
    if (client.readableEnded) process.end();
    if (process.readableEnded || process.destroyed) client.end();
    if (client.destroyed) this.#clientLost();
    client.resume();
    process.resume();
  }

  /** @returns false when the process is behind */
  #input(chunk: Buffer): boolean {
    const process = this.#process;
    if (process.destroyed || !process.writable) return true;
    this.#inputBytes += chunk.length;
    this.#askIfMuch();
    return process.write(chunk);
  }

  #output(chunk: Buffer): void {
    if (this.#isGiven) {
      // The client has vanished.
      this.#process.destroy();
      this.#onOver();
      return;
    }
    this.#outputBytes += chunk.length;
    this.#askIfMuch();
    if (!this.#client.writable) return;
    const hasRoom = this.#hasAsked
      ? this.#client.write(chunk, () => this.#giveIfPassed())
      : this.#client.write(chunk);
    if (!hasRoom) this.#process.pause();
  }

  #outputOver(isEnd: boolean): void {
    if (!this.#isGiven) {
      this.#isOver = true;
      this.#client.end();
      return;
    }
    // Who has read the output to its end is told of its process what was known then.
    if (isEnd) this.#taken?.end();
    this.#process.destroy();
    this.#onOver();
  }

  #clientLost(): void {
    if (this.#isGiven) return;
    this.#process.destroy();
    this.#onOver();
  }

  #askIfMuch(): void {
    if (this.#hasAsked || this.#inputBytes + this.#outputBytes < passedMaxBytes) return;
    this.#hasAsked = true;
    const fd = descriptorOf(this.#client);
    const taker = socketTakerOf(this.#process);
    if (fd !== undefined && taker !== undefined) void this.#ask(taker.take(fd));
  }

  async #ask(taking: Promise<TakenSocket | undefined>): Promise<void> {
    this.#taken = await taking;
    this.#giveIfPassed();
  }

  /** Gives the client away once all that was to come by here has reached it. */
  #giveIfPassed(): void {
    const [client, process, taken] = [this.#client, this.#process, this.#taken];
    if (taken === undefined || this.#isGiven || this.#isOver) return;
    if (client.destroyed || process.destroyed || client.writableLength > 0) return;
    if (this.#outputBytes < taken.outputBytes) return;
    this.#isGiven = true;
    // What was read ahead is the last that comes by here; from the next turn on it is not ours to read.
    for (let chunk: unknown = client.read(); chunk instanceof Buffer; chunk = client.read()) {
      this.#input(chunk);
    }
    client.destroy();
    taken.serve(this.#inputBytes);
    process.resume();
  }
}

/** The descriptor of a plain socket; undefined for whatever speaks something on top of it. */
export function descriptorOf(client: Duplex): number | undefined {
  if (!(client instanceof Socket) || Reflect.get(client, "encrypted") === true) return undefined;
  const handle: unknown = Reflect.get(client, "_handle");
  const fd: unknown = typeof handle === "object" && handle !== null && Reflect.get(handle, "fd");
  return typeof fd === "number" && fd >= 0 ? fd : undefined;
}
