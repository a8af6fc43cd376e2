/**
 * The stdio of one process of a container: pipes or a terminal, its log, its attached clients.
 *
 * It exists before the process does, so that a client attached early misses no byte.
 */
import { closeSync } from "node:fs";
import {
  type FdReader,
  type FdWriter,
  makePipe,
  openFdReader,
  openFdWriter,
} from "../../sys/fd-stream.ts";
import type { StreamConnection } from "../../sys/net/stream-socket.ts";
import { type AttachHello, Attachment, frameHead } from "./_attachment.ts";
import type { LogStream } from "../log/json-records.ts";
import type { StdioPlan } from "../shim-protocol.ts";

/** After the end of the process a silent pipe, held open by others, is given up after this. */
const silenceAfterExitMs = 250;
/**
 * What a pipe (1 MiB) can hold of a process that has ended, and its reader may have read ahead, with
 * room to spare; more is of others that write on.
 */
const leftoverMaxBytes = 4 * 1024 * 1024;
/** Clients of one process. */
const attachmentCountMax = 1024;

/** Where output goes besides the clients. */
export type OutputSink = (stream: LogStream, chunk: Uint8Array) => void;

/** Descriptors to start the process with; `closeChildEnds` once it has them. */
export interface ProcessPipes {
  readonly stdin: number | "ignore";
  readonly stdout: number;
  readonly stderr: number;
  closeChildEnds(): void;
}

interface Output {
  readonly stream: LogStream;
  reader: FdReader | undefined;
  leftoverBytes: number;
}

/** The stdio of one process. */
export class ProcessIo {
  readonly #attachments = new Set<Attachment>();
  readonly #outputs: Output[] = [];
  readonly #drained = Promise.withResolvers<void>();
  #own: readonly number[] = [];
  #plan: StdioPlan | undefined;
  #sink: OutputSink = () => undefined;
  #stdin: FdWriter | undefined;
  #isStdinEnded = false;
  #terminal: number | undefined;
  #isPaused = false;
  #isOver = false;
  #hasExited = false;
  #silence: ReturnType<typeof setTimeout> | undefined;

  /** Whether it is all over: nobody can attach any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** The master of the terminal, while there is one. */
  get terminal(): number | undefined {
    return this.#terminal;
  }

  get attachmentCount(): number {
    return this.#attachments.size;
  }

  /** Makes the pipes of a process without a terminal. */
  openPipes(plan: StdioPlan): ProcessPipes {
    this.#plan = plan;
    const [stdout, stderr] = [makePipe(), makePipe()];
    const stdin = plan.openStdin && !this.#isStdinEnded ? makePipe() : undefined;
    this.#own = [stdout.read, stderr.read, ...(stdin === undefined ? [] : [stdin.write])];
    const theirs = [stdout.write, stderr.write, ...(stdin === undefined ? [] : [stdin.read])];
    return {
      stdin: stdin?.read ?? "ignore",
      stdout: stdout.write,
      stderr: stderr.write,
      closeChildEnds: () => {
        for (const fd of theirs.splice(0)) closeSync(fd);
      },
    };
  }

  /** The process runs: from now on output flows. */
  runPipes(sink: OutputSink): void {
    this.#sink = sink;
    const [stdout, stderr, stdin] = this.#own;
    this.#own = [];
    if (stdout !== undefined) this.#read("stdout", stdout);
    if (stderr !== undefined) this.#read("stderr", stderr);
    if (stdin !== undefined) this.#write(stdin);
  }

  /** The process runs on a terminal; both descriptors of its master are taken over. */
  runTerminal(options: {
    readonly plan: StdioPlan;
    readonly input: number;
    readonly output: number;
    readonly sink: OutputSink;
  }): void {
    this.#plan = options.plan;
    this.#sink = options.sink;
    this.#terminal = options.input;
    this.#read("stdout", options.output);
    this.#write(options.input);
  }

  /** The process could not be started: clients see the end, pipes are closed unread. */
  abandon(): void {
    for (const fd of this.#own) closeSync(fd);
    this.#own = [];
    this.#finish();
  }

  /** Takes a client; false when it comes too late. `early` is what it has sent already. */
  attach(
    connection: StreamConnection,
    hello: AttachHello,
    early: Uint8Array,
  ): Attachment | undefined {
    if (this.#isOver || this.#attachments.size >= attachmentCountMax) return undefined;
    const attachment = new Attachment(connection, hello, {
      onDrain: () => this.#balance(),
      onClose: () => this.#removed(attachment),
    });
    this.#attachments.add(attachment);
    if (hello.stdin && this.#stdin === undefined) attachment.pauseInput();
    if (early.length > 0) {
      if (this.#stdin === undefined) this.#early.push([attachment, early]);
      else this.input(attachment, early);
    }
    return attachment;
  }

  readonly #early: [Attachment, Uint8Array][] = [];

  /** Input of a client. */
  input(attachment: Attachment, chunk: Uint8Array): void {
    if (!attachment.hello.stdin) return;
    if (this.#stdin === undefined) {
      if (this.#plan === undefined) this.#early.push([attachment, chunk]);
      return;
    }
    const pass = attachment.typed(chunk, this.#plan?.hasTty === true);
    if (pass.length === 0 || this.#stdin.write(pass)) return;
    for (const each of this.#attachments) each.pauseInput();
  }

  /** A client has ended its input. */
  inputEnded(attachment: Attachment): void {
    if (!attachment.hello.stdin || this.#plan?.stdinOnce === false) return;
    if (this.#plan === undefined || this.#early.length > 0) {
      this.#endsAfterEarly = true;
      return;
    }
    // Docker: the end of input of a terminal is typed, not told, seen in 28.5.
    if (!this.#plan.hasTty) this.closeStdin();
  }

  #endsAfterEarly = false;

  /** Ends the input of the process, after what was written before. */
  closeStdin(): void {
    if (this.#terminal !== undefined) return;
    this.#isStdinEnded = true;
    this.#stdin?.end();
  }

  /** The process has ended. Resolves when its output is complete and handed out. */
  async exited(): Promise<void> {
    this.#hasExited = true;
    this.#armSilence();
    if (this.#outputs.every((output) => output.reader === undefined)) this.#drained.resolve();
    await this.#drained.promise;
    this.#finish();
  }

  /** Resolves when no client is left; each is dropped when it takes nothing for a while. */
  async attachmentsGone(): Promise<void> {
    while (this.#attachments.size > 0) {
      await new Promise<void>((resolve) => {
        this.#goneWaiters.push(resolve);
      });
    }
  }

  /** Several may wait: who leaves, and who makes a spare of this process meanwhile. */
  readonly #goneWaiters: (() => void)[] = [];

  #removed(attachment: Attachment): void {
    this.#attachments.delete(attachment);
    this.inputEnded(attachment);
    if (this.#attachments.size > 0) return;
    for (const resolve of this.#goneWaiters.splice(0)) resolve();
  }

  #finish(): void {
    this.#isOver = true;
    clearTimeout(this.#silence);
    this.#stdin?.close();
    this.#stdin = undefined;
    this.#terminal = undefined;
    for (const attachment of this.#attachments) {
      attachment.end();
      attachment.resumeInput();
    }
  }

  #read(stream: LogStream, fd: number): void {
    const output: Output = { stream, reader: undefined, leftoverBytes: 0 };
    this.#outputs.push(output);
    output.reader = openFdReader(fd, {
      onData: (chunk) => this.#output(output, chunk),
      onEnd: () => this.#outputEnded(output),
    });
    if (this.#isPaused) output.reader.pause();
  }

  #write(fd: number): void {
    const stdin = openFdWriter(fd);
    this.#stdin = stdin;
    stdin.onDrain(() => {
      for (const each of this.#attachments) each.resumeInput();
    });
    for (const [attachment, chunk] of this.#early.splice(0)) this.input(attachment, chunk);
    if (this.#endsAfterEarly && this.#plan?.stdinOnce === true && !this.#plan.hasTty)
      this.closeStdin();
    if (this.#isStdinEnded) stdin.end();
    for (const attachment of this.#attachments) attachment.resumeInput();
  }

  #output(output: Output, chunk: Uint8Array): void {
    this.#sink(output.stream, chunk);
    const isFramed = this.#plan?.hasTty !== true;
    let head: Uint8Array | undefined;
    for (const attachment of this.#attachments) {
      if (!attachment.hello[output.stream]) continue;
      if (isFramed) head ??= frameHead(output.stream, chunk.length);
      attachment.send(head, chunk);
    }
    if (this.#attachments.size > 0) this.#balance();
    if (!this.#hasExited) return;
    output.leftoverBytes += chunk.length;
    if (output.leftoverBytes > leftoverMaxBytes) this.#outputEnded(output);
    else this.#armSilence();
  }

  #outputEnded(output: Output): void {
    output.reader?.close();
    output.reader = undefined;
    if (!this.#outputs.every((each) => each.reader === undefined)) return;
    clearTimeout(this.#silence);
    this.#drained.resolve();
  }

  /** Has the process wait while a client is too far behind. */
  #balance(): void {
    let isBehind = false;
    for (const attachment of this.#attachments) isBehind ||= attachment.isBehind;
    if (isBehind === this.#isPaused) return;
    this.#isPaused = isBehind;
    for (const { reader } of this.#outputs) {
      if (isBehind) reader?.pause();
      else reader?.resume();
    }
    if (this.#hasExited) this.#armSilence();
  }

  #armSilence(): void {
    clearTimeout(this.#silence);
    if (this.#isPaused || this.#isOver) return;
    this.#silence = setTimeout(() => {
      for (const output of this.#outputs) {
        if (output.reader !== undefined) this.#outputEnded(output);
      }
    }, silenceAfterExitMs);
  }
}
