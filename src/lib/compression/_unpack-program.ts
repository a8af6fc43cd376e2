/** Unpacking by programs of the system, for packings that have no decoder here. */
import { once } from "node:events";
import type { Writable } from "node:stream";
import { codeOf, EngineError, messageOf } from "../errors.ts";
import type { ByteSource } from "../stream-limit.ts";

/** Programs that read packed bytes and write unpacked ones. xz is bounded in memory; bzip2 never
 * takes more than 4 MB. */
const programs = {
  xz: ["xz", "--decompress", "--stdout", "--threads=1", "--memlimit-decompress=512MiB"],
  bzip2: ["bzip2", "--decompress", "--stdout"],
} as const;
const messageMaxBytes = 4096;

/** What a program unpacks. */
export type ProgramCompression = keyof typeof programs;

/**
 * Unpacks a stream with the program for it, which is killed when the consumer stops.
 *
 * @param options.check throws when so much must not come out of so much
 * @throws invalid-argument for damaged or truncated data; unavailable without the program
 */
export async function* unpackWithProgram(
  kind: ProgramCompression,
  options: {
    readonly source: ByteSource;
    readonly check: (counts: {
      readonly packedBytes: number;
      readonly expandedBytes: number;
    }) => void;
  },
): AsyncGenerator<Uint8Array, void, undefined> {
  const [program, ...argv] = programs[kind];
  // Few archives need a program, and the module takes as long to load as a small layer to unpack.
  const { spawn } = process.getBuiltinModule("node:child_process");
  const child = spawn(program, argv, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { LC_ALL: "C", PATH: process.env["PATH"] ?? "" },
  });
  const ended = Promise.withResolvers<EngineError | undefined>();
  let message = "";
  child.stderr.on("data", (chunk: Buffer) => {
    if (message.length < messageMaxBytes) message += chunk.toString();
  });
  child.on("error", (error) => ended.resolve(notStarted(program, error)));
  child.on("close", (code) => {
    const reason = message.trim().slice(0, messageMaxBytes) || `${program} ended with ${code}`;
    const sentence = `unpack ${kind} data: ${reason}`;
    ended.resolve(code === 0 ? undefined : new EngineError("invalid-argument", sentence));
  });
  const counts = { packedBytes: 0, expandedBytes: 0 };
  const stop = new AbortController();
  const fed = feed(child.stdin, { source: options.source, counts, signal: stop.signal });
  // Looked at when the output has ended; until then it must not count as unheard.
  fed.catch(() => child.kill("SIGKILL"));
  try {
    for await (const chunk of child.stdout as AsyncIterable<Uint8Array>) {
      counts.expandedBytes += chunk.length;
      options.check(counts);
      yield chunk;
    }
    // The source's own failure goes before what the program makes of it.
    await fed;
    const failed = await ended.promise;
    if (failed !== undefined) throw failed;
  } finally {
    stop.abort();
    child.kill("SIGKILL");
    await Promise.allSettled([fed]);
  }
}

/** Gives the program its input. One that ends early says so by its exit code. */
async function feed(
  input: Writable,
  what: {
    readonly source: ByteSource;
    readonly counts: { packedBytes: number };
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { source, counts, signal } = what;
  let isGone = false;
  input.on("error", () => {
    isGone = true;
  });
  input.on("close", () => {
    isGone = true;
  });
  for await (const chunk of source) {
    if (isGone || signal.aborted) return;
    counts.packedBytes += chunk.byteLength;
    if (!input.write(chunk)) await drained(input, signal);
  }
  input.end();
}

async function drained(input: Writable, signal: AbortSignal): Promise<void> {
  if (input.destroyed || signal.aborted) return;
  const stop = new AbortController();
  const onAbort = (): void => stop.abort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await Promise.race(
      ["drain", "close", "error"].map(async (event) => {
        await once(input, event, { signal: stop.signal }).catch(() => undefined);
      }),
    );
  } finally {
    stop.abort();
    signal.removeEventListener("abort", onAbort);
  }
}

function notStarted(program: string, error: Error): EngineError {
  const isMissing = codeOf(error) === "ENOENT";
  const reason = isMissing ? "the program is not installed" : messageOf(error);
  return new EngineError("unavailable", `unpack data: run ${program}: ${reason}`, { cause: error });
}
