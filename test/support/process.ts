/** Running other programs: to their end, in a terminal, or along with the test. */
import assert from "node:assert/strict";

/** How a program ended and what it said. */
export interface Result {
  /** 128 + the signal's number when it was killed; 124 when it had to be. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly stdoutBytes: Uint8Array;
}

/** How a program is run. */
export interface RunOptions {
  /** Written to its stdin, which is closed then; stdin is empty when absent. */
  readonly input?: string | Uint8Array;
  /** Added to the environment of the test. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly timeoutMs?: number;
}

const timeoutDefaultMs = 30_000;
const timedOut = 124;

/** Runs a program to its end; kills it when it takes longer than `timeoutMs`. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
  const child = Bun.spawn([...argv], {
    stdin: options.input === undefined ? "ignore" : new Blob([options.input]),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill("SIGKILL");
  }, options.timeoutMs ?? timeoutDefaultMs);
  try {
    const [stdoutBytes, stderr, exitCode] = await Promise.all([
      child.stdout.bytes(),
      child.stderr.text(),
      child.exited,
    ]);
    return {
      exitCode: isLate ? timedOut : exitCode,
      stdout: new TextDecoder().decode(stdoutBytes),
      stderr: isLate ? `${stderr}\n(killed: ${argv.join(" ")} took too long)` : stderr,
      stdoutBytes,
    };
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a program that must succeed. @returns what it printed, without the last line's end */
export async function runOk(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await run(argv, options);
  if (result.exitCode !== 0) assert.fail(describeResult(argv, result));
  return result.stdout.replace(/\n$/, "");
}

/** Says what ran and how it ended, for a failed expectation. */
export function describeResult(argv: readonly string[], result: Result): string {
  return `${argv.join(" ")}\nended with ${result.exitCode}\n${result.stdout}${result.stderr}`;
}

/** A program that runs beside the test, with a pipe on each of its streams. */
export interface Companion {
  readonly pid: number;
  write(text: string | Uint8Array): void;
  /** Half-close: it reads the end of its input. */
  closeStdin(): void;
  /** All that it has printed so far, on stdout and on stderr. */
  readonly stdout: string;
  readonly stderr: string;
  /** Resolves when stdout contains `text`. */
  prints(text: string | RegExp): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  readonly exited: Promise<number>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts a program beside the test. Use `await using`, which kills it. */
export function start(argv: readonly string[], options: RunOptions = {}): Companion {
  const child = Bun.spawn([...argv], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const out = collect(child.stdout);
  const err = collect(child.stderr);
  return {
    pid: child.pid,
    write(text) {
      void child.stdin.write(text);
      void child.stdin.flush();
    },
    closeStdin: () => void child.stdin.end(),
    get stdout() {
      return out.text;
    },
    get stderr() {
      return err.text;
    },
    async prints(text) {
      await until(
        () => (typeof text === "string" ? out.text.includes(text) : text.test(out.text)),
        () => `${argv.join(" ")} to print ${text}; it printed ${out.text}${err.text}`,
      );
    },
    kill: (signal) => child.kill(signal),
    exited: child.exited.then(async (code) => {
      await Promise.all([out.done, err.done]);
      return code;
    }),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

function collect(stream: ReadableStream<Uint8Array>): {
  readonly text: string;
  readonly done: Promise<void>;
} {
  const decoder = new TextDecoder();
  let text = "";
  const read = async (): Promise<void> => {
    for await (const chunk of stream) text += decoder.decode(chunk, { stream: true });
  };
  const done = read();
  return {
    get text() {
      return text;
    },
    done,
  };
}

/** Single-quotes words for a shell. */
export function quote(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
}

/** The argv that runs `argv` in a terminal of its own, by util-linux's `script`. */
export function inTerminal(argv: readonly string[]): readonly string[] {
  return ["script", "-qec", quote(argv), "/dev/null"];
}

/** Waits until something is so. @throws an assertion error that names `what` after `timeoutMs` */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  what: string | (() => string),
  timeoutMs = 10_000,
): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!(await isSo())) {
    if (performance.now() > end) {
      assert.fail(`waited ${timeoutMs} ms for ${typeof what === "string" ? what : what()}`);
    }
    await Bun.sleep(20);
  }
}
