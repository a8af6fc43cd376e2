/** One process of a container under a shim: its start through the runtime, its stdio, its end. */
import { closeSync, constants, openSync, readFileSync, rmSync } from "node:fs";
import { basename, dirname } from "node:path";
import { codeOf } from "../../lib/errors.ts";
import { nowNs } from "../../lib/time.ts";
import { duplicateFd, makePipe, openFdReader, openFdWriter } from "../../sys/fd-stream.ts";
import { processStartTime, type WaitStatus, watchExit } from "../../sys/process/process.ts";
import { listenConsole, setWindowSize } from "../../sys/pty.ts";
import { keepForWaiter, waiterServed } from "./_orphans.ts";
import { type OutputSink, ProcessIo } from "./_process-io.ts";
import {
  callRuntime,
  type RuntimeProgram,
  runtimeFailure,
  type StartedCommand,
} from "./runtime-call.ts";
import type { ExitStatus, StdioPlan } from "../shim-protocol.ts";

const signalExitBase = 128;
/** How soon to look again for a process that is still another's child. */
const adoptionLookMs = 1;

/** What `ShimProcess.start` needs. */
export interface ProcessStart {
  readonly program: RuntimeProgram;
  /** The runtime's subcommand with its options, without those of stdio and the pid file. */
  readonly verb: readonly string[];
  /** What comes last: the container's id. */
  readonly id: string;
  /** Path without an ending, for the pid file, the runtime's log and the console socket. */
  readonly scratch: string;
  readonly stdio: StdioPlan;
  readonly sink: OutputSink;
  readonly command: StartedCommand;
  /** Called once when the process has ended, before its output is complete. */
  readonly onExit: (status: WaitStatus) => void;
}

/** One process. `io` is there before the process. */
export class ShimProcess {
  readonly io: ProcessIo = new ProcessIo();
  #pid: number | undefined;
  #startTime = "0";
  #exit: ExitStatus | undefined;
  #isStarting = false;
  readonly #ended = Promise.withResolvers<void>();

  get pid(): number | undefined {
    return this.#pid;
  }

  /** In clock ticks, "0" when it was gone before it could be asked. */
  get startTime(): string {
    return this.#startTime;
  }

  get exit(): ExitStatus | undefined {
    return this.#exit;
  }

  /** True from the begin of `start` on, unless that failed. */
  get isStarting(): boolean {
    return this.#isStarting;
  }

  /** Resolves when its end is noted. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Notes how it ended; only the first time counts. */
  setExit(status: ExitStatus): void {
    this.#exit ??= status;
    this.#ended.resolve();
  }

  /** @throws what `runtimeFailure` makes of the runtime's complaint; nothing is left then */
  async start(start: ProcessStart): Promise<void> {
    const pidPath = `${start.scratch}.pid`;
    this.#isStarting = true;
    const launch = start.stdio.hasTty ? this.#onTerminal : this.#onPipes;
    try {
      await launch.call(this, start, pidPath);
    } catch (error) {
      this.#isStarting = false;
      this.io.abandon();
      throw error;
    } finally {
      rmSync(pidPath, { force: true });
    }
    const pid = this.#pid;
    if (pid === undefined) return;
    this.#startTime = String(processStartTime(pid) ?? 0);
    this.#watch(pid, start.onExit);
  }

  /**
   * crun leaves its container to a child of its own that ends a moment after it: until then the
   * process is not ours to wait for.
   */
  #watch(pid: number, onExit: (status: WaitStatus) => void): void {
    watchExit(pid, (status) => {
      const isKnown = status.exitCode !== undefined || status.signal !== undefined;
      if (isKnown || String(processStartTime(pid)) !== this.#startTime) {
        waiterServed(pid);
        onExit(status);
      } else setTimeout(() => this.#watch(pid, onExit), adoptionLookMs);
    });
  }

  /** Sets the size of the terminal; without one nothing happens. */
  resize(rows: number, columns: number): void {
    const terminal = this.io.terminal;
    if (terminal !== undefined) setWindowSize(terminal, { rows, cols: columns });
  }

  async #onPipes(start: ProcessStart, pidPath: string): Promise<void> {
    const pipes = this.io.openPipes(start.stdio);
    try {
      const { stdin, stdout, stderr } = pipes;
      const call = this.#call(start, ["--pid-file", pidPath], { stdin, stdout, stderr });
      pipes.closeChildEnds();
      await this.#finish(call, start, pidPath);
    } finally {
      pipes.closeChildEnds();
    }
    this.io.runPipes(start.sink);
  }

  async #onTerminal(start: ProcessStart, pidPath: string): Promise<void> {
    // A socket's path is at most 107 bytes: the folder is named by its descriptor.
    const folder = openSync(dirname(start.scratch), constants.O_DIRECTORY);
    const path = `/proc/${process.pid}/fd/${folder}/${basename(start.scratch)}.tty`;
    let listener: ReturnType<typeof listenConsole>;
    try {
      listener = listenConsole(path);
    } catch (error) {
      closeSync(folder);
      throw error;
    }
    try {
      const options = ["--pid-file", pidPath, "--console-socket", path];
      const call = this.#call(start, options, {
        stdin: "ignore",
        stdout: "ignore",
        stderr: "ignore",
      });
      await this.#finish(call, start, pidPath);
      const { master } = listener.accept();
      const { rows, columns } = start.stdio;
      if (rows !== undefined && columns !== undefined && rows > 0 && columns > 0) {
        setWindowSize(master, { rows, cols: columns });
      }
      const { stdio: plan, sink } = start;
      this.io.runTerminal({ plan, input: master, output: duplicateFd(master), sink });
    } finally {
      listener.close();
      rmSync(path, { force: true });
      closeSync(folder);
    }
  }

  #call(
    start: ProcessStart,
    options: readonly string[],
    stdio: Parameters<typeof callRuntime>[0]["stdio"],
  ): Promise<string | undefined> {
    return callRuntime({
      program: start.program,
      argv: [...start.verb, ...options, start.id],
      logPath: `${start.scratch}.log`,
      stdio,
    });
  }

  async #finish(
    call: Promise<string | undefined>,
    start: ProcessStart,
    pidPath: string,
  ): Promise<void> {
    const complaint = await call;
    if (complaint !== undefined) throw runtimeFailure(complaint, start.command);
    const pid = readPid(pidPath);
    // crun 1.8 ends well when its child was killed.
    if (pid === undefined) throw runtimeFailure("the runtime told no pid", start.command);
    this.#pid = pid;
    keepForWaiter(pid);
  }
}

/** What the runtime has written of the process that it started; undefined when it has not. */
function readPid(path: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(path, "latin1"), 10);
    return pid > 0 ? pid : undefined;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Loads what a start needs, so that it costs the spare its time and not the container. */
export function warmProcessStart(): void {
  const { read, write } = makePipe();
  openFdReader(read, { onData: () => undefined, onEnd: () => undefined }).close();
  openFdWriter(write).close();
  processStartTime(process.pid);
  watchExit(process.pid, () => undefined);
}

/** The exit status for what the kernel told. */
export function exitStatusOf(status: WaitStatus, isOomKilled: boolean): ExitStatus {
  const exitedAtNs = String(nowNs());
  if (status.exitCode !== undefined) return { exitCode: status.exitCode, exitedAtNs, isOomKilled };
  if (status.signal !== undefined) {
    return { exitCode: signalExitBase + status.signal, exitedAtNs, isOomKilled };
  }
  const error = "the exit status was lost: the process was no child of the shim";
  return { exitCode: 255, exitedAtNs, isOomKilled, error };
}
