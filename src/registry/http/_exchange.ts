import type { IncomingMessage, ServerResponse } from "node:http";
import { once } from "node:events";
import { type FileHandle, open } from "node:fs/promises";
import { codeOf, EngineError } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import { refusal } from "../errors.ts";
import type { Caller } from "../auth/gate.ts";
import type { ByteRange } from "../ranges.ts";
import type { Registry, ServedBlob } from "../registry.ts";

/** One request that was let in, and what its handler needs. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  readonly registry: Registry;
  readonly caller: Caller;
  readonly logger: Logger;
  readonly counts: BodyCounts;
  readonly manifestSpace: ManifestSpace;
}

/** Bytes of manifests that are being received, all in memory. */
export class ManifestSpace {
  #heldBytes = 0;

  /** Runs `work` with space for `sizeBytes`. @throws TOOMANYREQUESTS when there is too little */
  async run<T>(sizeBytes: number, work: () => Promise<T>): Promise<T> {
    if (this.#heldBytes + sizeBytes > manifestSpaceMaxBytes) {
      throw refusal("TOOMANYREQUESTS", { headers: { "Retry-After": "1" } });
    }
    this.#heldBytes += sizeBytes;
    try {
      return await work();
    } finally {
      this.#heldBytes -= sizeBytes;
    }
  }
}

/** Bytes of the bodies of one exchange. */
export interface BodyCounts {
  receivedBytes: number;
  sentBytes: number;
}

/** Bytes of manifests that may be under way at once. */
const manifestSpaceMaxBytes = 128 * 1024 * 1024;
/** Bytes read at once of a blob that is served: what each slow client costs. */
const chunkBytes = 256 * 1024;

/** Passes on the body of a request. @throws canceled when the client breaks off in the middle */
export async function* bodyOf({ request, counts }: Exchange): AsyncGenerator<Uint8Array, void> {
  try {
    // The rest of a body that is not wanted is still to be read, see endBody of server.ts.
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      const bytes: unknown = chunk;
      if (!(bytes instanceof Uint8Array)) continue;
      counts.receivedBytes += bytes.byteLength;
      yield bytes;
    }
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw brokenOff(error);
  }
  if (!request.complete) throw brokenOff();
}

/** The length that the body says it has. */
export function contentLength({ request }: Exchange): number | undefined {
  const text = request.headers["content-length"];
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Answers without a body. */
export function sendEmpty(
  { response }: Exchange,
  status: number,
  headers: Readonly<Record<string, string>> = {},
): void {
  // 204 and 304 have no length to tell.
  const length = status === 204 || status === 304 ? {} : { "Content-Length": "0" };
  response.writeHead(status, { ...length, ...headers });
  response.end();
}

/** Answers with bytes at hand; a HEAD gets the headers alone. */
export function sendBytes(
  exchange: Exchange,
  options: {
    readonly bytes: Uint8Array;
    readonly headers: Readonly<Record<string, string>>;
  },
): void {
  const { request, response, counts } = exchange;
  const { bytes, headers } = options;
  response.writeHead(200, { ...headers, "Content-Length": String(bytes.byteLength) });
  if (request.method === "HEAD") {
    response.end();
    return;
  }
  counts.sentBytes += bytes.byteLength;
  response.end(bytes);
}

/** Answers with a JSON document. */
export function sendJson(
  exchange: Exchange,
  document: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  sendBytes(exchange, {
    bytes: Buffer.from(`${JSON.stringify(document)}\n`),
    headers: { "Content-Type": "application/json", ...headers },
  });
}

/**
 * Sends a part of a blob; a client that reads slowly holds it back, and a blob that is still growing is
 * followed.
 *
 * @param part.head writes the headers, once the file is open
 * @throws BLOB_UNKNOWN when the file went just now
 */
export async function sendBlob(
  { response, counts }: Exchange,
  part: { readonly blob: ServedBlob; readonly range: ByteRange; readonly head: () => void },
): Promise<void> {
  const { blob, range, head } = part;
  const { growth } = blob;
  await using handle = await openBlob(blob);
  head();
  const gone = growth === undefined ? undefined : once(response, "close");
  gone?.catch(() => undefined);
  const end = range.offset + range.length;
  for (let at = range.offset; at < end; ) {
    // Asked for before the size is looked at: what comes in between is not missed.
    const more = growth?.next();
    const sizeBytes = growth === undefined ? end : (await handle.stat()).size;
    const readable = Math.min(end, growth?.readable(sizeBytes, blob.sizeBytes) ?? end);
    if (response.destroyed) throw brokenOff();
    if (readable <= at) {
      if (growth?.wholePath !== undefined) throw shorter(blob);
      await Promise.race([more, gone]);
      continue;
    }
    const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, readable - at));
    const { bytesRead } = await handle.read(chunk, 0, chunk.length, at);
    if (bytesRead === 0) throw shorter(blob);
    at += bytesRead;
    if (response.destroyed) throw brokenOff();
    counts.sentBytes += bytesRead;
    if (!response.write(chunk.subarray(0, bytesRead))) await drained(response);
  }
  response.end();
}

/** Opens a blob's file; one that came to its end just now has another name. */
async function openBlob({ path, growth, digest }: ServedBlob): Promise<FileHandle> {
  const found = await openIfThere(path);
  if (found !== undefined) return found;
  await growth?.ended();
  const wholePath = growth?.wholePath;
  const whole = wholePath === undefined ? undefined : await openIfThere(wholePath);
  if (whole !== undefined) return whole;
  const cause = new EngineError("not-found", "its file went just now");
  throw refusal("BLOB_UNKNOWN", { detail: { digest }, cause });
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function shorter({ digest }: ServedBlob): EngineError {
  return new EngineError("data-loss", `serve blob ${digest}: its file became shorter`);
}

async function drained(response: ServerResponse): Promise<void> {
  const done = new AbortController();
  try {
    const { signal } = done;
    await Promise.race([once(response, "drain", { signal }), once(response, "close", { signal })]);
  } catch (error) {
    throw brokenOff(error);
  } finally {
    done.abort();
  }
  if (response.destroyed) throw brokenOff();
}

/** Tells whether the client has what it asks for; `etag` without quotes. */
export function isUnchanged({ request }: Exchange, etag: string): boolean {
  const header = request.headers["if-none-match"];
  if (header === undefined) return false;
  return header
    .split(",")
    .some((one) => ["*", etag, `"${etag}"`].includes(one.trim().replace(/^W\//, "")));
}

/** Reads `n` and `last` of a list. @throws PAGINATION_NUMBER_INVALID */
export function pageOf(
  query: URLSearchParams,
  options: { readonly countMax: number },
): { readonly countMax: number; readonly after?: string } {
  const text = query.get("n");
  const last = query.get("last");
  if (text !== null && !/^\d{1,9}$/.test(text)) {
    throw refusal("PAGINATION_NUMBER_INVALID", { detail: { n: text.slice(0, 64) } });
  }
  const countMax = text === null ? options.countMax : Math.min(Number(text), options.countMax);
  return { countMax, ...(last === null || last === "" ? {} : { after: last }) };
}

/** The `Link` to the next page of a list. */
export function linkTo(path: string, query: Readonly<Record<string, string>>): { Link: string } {
  return { Link: `<${path}?${new URLSearchParams(query).toString()}>; rel="next"` };
}

function brokenOff(cause?: unknown): EngineError {
  return new EngineError("canceled", "the client went away in the middle of a body", { cause });
}
