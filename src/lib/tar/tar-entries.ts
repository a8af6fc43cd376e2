import { EngineError } from "../errors.ts";
import type { ByteSource } from "../stream-limit.ts";
import type { ByteString, TarHeader } from "./tar-header.ts";
import { decodeByteString } from "./tar-header.ts";
import { type TarHandler, type TarLimits, TarReader } from "./tar-reader.ts";
import { escapeControls } from "../terminal-text.ts";

/** One entry as it comes by. */
export interface TarEntry {
  readonly header: TarHeader;
  /** The content, once; what is not read is skipped when the next entry is asked for. */
  readonly content: AsyncIterable<Uint8Array>;
}

/** Bounds of one file read whole. */
export interface SmallFileLimits extends TarLimits {
  readonly fileMaxBytes: number;
}

type TarEvent = { readonly header: TarHeader } | { readonly bytes: Uint8Array } | "end";

/**
 * Drives a handler with a whole stream: the fast way, nothing is queued or copied.
 *
 * @throws invalid-argument for a malformed archive; canceled when the signal fires
 */
export async function readTar(
  source: ByteSource,
  options: {
    readonly handler: TarHandler;
    readonly limits: TarLimits;
    readonly signal?: AbortSignal;
  },
): Promise<void> {
  const reader = new TarReader(options.handler, options.limits);
  for await (const chunk of source) {
    if (options.signal?.aborted) {
      throw new EngineError("canceled", "read archive: canceled", { cause: options.signal.reason });
    }
    reader.push(chunk);
  }
  reader.end();
}

/**
 * Gives the entries of an archive one by one, for consumers that wait in between.
 *
 * The source is read only as fast as content is taken; it must not reuse its chunks.
 *
 * @throws invalid-argument for a malformed archive
 */
export async function* tarEntries(
  source: ByteSource,
  limits: TarLimits,
): AsyncGenerator<TarEntry, void, undefined> {
  const events = tarEvents(source, limits);
  try {
    for (;;) {
      const next = await events.next();
      if (next.done === true) return;
      const event = next.value;
      if (event === "end" || !("header" in event)) continue;
      const content = contentOf(events);
      yield { header: event.header, content };
      await drain(content);
    }
  } finally {
    await events.return();
  }
}

/**
 * Reads whole files out of an archive: those for which `select` says yes.
 *
 * @returns content by name as it stands in the archive; the last one of a name wins
 * @throws invalid-argument when a selected file is larger than `fileMaxBytes`
 */
export async function readTarFiles(
  source: ByteSource,
  options: {
    readonly select: (header: TarHeader) => boolean;
    readonly limits: SmallFileLimits;
  },
): Promise<Map<ByteString, Uint8Array>> {
  const files = new Map<ByteString, Uint8Array>();
  const { fileMaxBytes } = options.limits;
  const handler: TarHandler = {
    entry(header) {
      if (header.type !== "file" || !options.select(header)) return "skip";
      if (header.sizeBytes > fileMaxBytes) {
        const name = escapeControls(JSON.stringify(decodeByteString(header.name)));
        const sentence = `tar entry ${name}: larger than ${fileMaxBytes} bytes`;
        throw new EngineError("invalid-argument", sentence);
      }
      const chunks: Uint8Array[] = [];
      return {
        write: (bytes) => void chunks.push(Buffer.from(bytes)),
        end: () => void files.set(header.name, Buffer.concat(chunks)),
      };
    },
  };
  await readTar(source, { handler, limits: options.limits });
  return files;
}

async function* tarEvents(
  source: ByteSource,
  limits: TarLimits,
): AsyncGenerator<TarEvent, void, undefined> {
  let queue: TarEvent[] = [];
  const sink = {
    write: (bytes: Uint8Array): void => void queue.push({ bytes }),
    end: (): void => void queue.push("end"),
  };
  const handler: TarHandler = {
    entry(header) {
      queue.push({ header });
      return sink;
    },
  };
  const reader = new TarReader(handler, limits);
  for await (const chunk of source) {
    reader.push(chunk);
    const events = queue;
    queue = [];
    yield* events;
  }
  reader.end();
}

async function* contentOf(
  events: AsyncGenerator<TarEvent, void>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (;;) {
    const next = await events.next();
    if (next.done === true || next.value === "end") return;
    if ("bytes" in next.value) yield next.value.bytes;
  }
}

async function drain(content: AsyncGenerator<Uint8Array, void>): Promise<void> {
  while ((await content.next()).done !== true);
}
