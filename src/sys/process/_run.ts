import { EngineError } from "../../lib/errors.ts";
import { nodeFailure } from "../libc.ts";
import { signalName, signalNumber } from "./signal.ts";

/** How much of each output `run` keeps unless told. */
const outputSizeMaxBytesDefault = 16 * 1024 * 1024;
/**
 * How long a pipe may stay silent after the process has ended: something it left behind holds the
 * other end, and would hold us as well.
 */
const silenceAfterExitMs = 250;

/** What `run` starts. */
export interface RunOptions {
  readonly argv: readonly string[];
  /** The whole environment; the own one when absent. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** What the process reads; nothing when absent. */
  readonly input?: Uint8Array | string;
  /** Descriptors in place of the pipes; their output is not collected. */
  readonly stdio?: {
    readonly stdin?: number | "ignore";
    readonly stdout?: number | "ignore";
    readonly stderr?: number | "ignore";
  };
  /** Become descriptors 3, 4, … of the process. */
  readonly extraFds?: readonly number[];
  /** After which the process is killed and `run` throws deadline-exceeded. */
  readonly timeoutMs?: number;
  /** Of each output; beyond it the process is killed and `run` throws. 16 MiB when absent. */
  readonly outputSizeMaxBytes?: number;
  /** Its abort kills the process; `run` throws canceled. */
  readonly signal?: AbortSignal;
}

/** How a process ended and what it said. A process ended by a signal has exit code 128 + number. */
export interface RunResult {
  readonly exitCode: number;
  readonly signalName?: string;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program to its end and collects its output.
 *
 * @throws not-found when there is no such program; its own failure is an exit code, no throw
 */
export async function run(options: RunOptions): Promise<RunResult> {
  if (options.signal?.aborted === true) throw stopped("canceled", options, "canceled");
  let failure: EngineError | undefined;
  const child = start(options);
  const stop = (kind: "canceled" | "deadline-exceeded" | "internal", reason: string): void => {
    failure ??= stopped(kind, options, reason);
    child.kill("SIGKILL");
  };
  const timer =
    options.timeoutMs === undefined
      ? undefined
      : setTimeout(
          () => stop("deadline-exceeded", `no end after ${options.timeoutMs} ms`),
          options.timeoutMs,
        );
  const onAbort = (): void => stop("canceled", "canceled");
  options.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const sizeMaxBytes = options.outputSizeMaxBytes ?? outputSizeMaxBytesDefault;
    const limit = { sizeMaxBytes, onExcess: () => stop("internal", "too much output") };
    const [stdout, stderr] = await Promise.all([
      collect(child.stdout, child.exited, limit),
      collect(child.stderr, child.exited, limit),
      child.exited,
    ]);
    if (failure !== undefined) throw failure;
    return {
      exitCode: child.exitCode ?? 128 + signalValue(child.signalCode),
      ...(child.signalCode === null ? {} : { signalName: nameOfSignal(child.signalCode) }),
      stdout,
      stderr,
    };
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", onAbort);
  }
}

type Child = Bun.Subprocess<
  Uint8Array<ArrayBuffer> | number | "ignore",
  number | "ignore" | "pipe",
  number | "ignore" | "pipe"
>;

function start(options: RunOptions): Child {
  const stdio = options.stdio ?? {};
  const input =
    typeof options.input === "string" ? Buffer.from(options.input) : options.input?.slice();
  try {
    return Bun.spawn([...options.argv], {
      stdio: [
        input ?? stdio.stdin ?? "ignore",
        stdio.stdout ?? "pipe",
        stdio.stderr ?? "pipe",
        ...(options.extraFds ?? []),
      ],
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    }) as Child;
  } catch (error) {
    throw nodeFailure(error, `run ${JSON.stringify(options.argv[0])}`);
  }
}

function stopped(
  kind: "canceled" | "deadline-exceeded" | "internal",
  options: RunOptions,
  reason: string,
): EngineError {
  return new EngineError(kind, `run ${JSON.stringify(options.argv[0])}: ${reason}`);
}

async function collect(
  stream: ReadableStream<Uint8Array> | number | undefined,
  exited: Promise<number>,
  limit: { readonly sizeMaxBytes: number; readonly onExcess: () => void },
): Promise<string> {
  if (!(stream instanceof ReadableStream)) return "";
  const reader = stream.getReader();
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  let hasExited = false;
  let isDone = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const watchSilence = (): void => {
    clearTimeout(timer);
    if (!isDone) timer = setTimeout(() => void reader.cancel(), silenceAfterExitMs);
  };
  void exited.then(() => {
    hasExited = true;
    watchSilence();
  });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return Buffer.concat(chunks).toString();
      sizeBytes += value.length;
      if (sizeBytes > limit.sizeMaxBytes) {
        limit.onExcess();
        await reader.cancel();
        return "";
      }
      chunks.push(value);
      if (hasExited) watchSilence();
    }
  } finally {
    isDone = true;
    clearTimeout(timer);
  }
}

function signalValue(signal: string | number | null): number {
  return signal === null ? 0 : signalNumber(String(signal));
}

function nameOfSignal(signal: string | number): string {
  return typeof signal === "number" ? signalName(signal) : signal;
}
