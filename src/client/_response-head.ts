/** Reads the head of an HTTP/1.1 response and its body's framing. */
import { EngineError } from "../lib/errors.ts";

/** Longest head that is read. */
const headMaxBytes = 64 * 1024;
/** Longest line with a chunk's size. */
const chunkLineMaxBytes = 1024;

/** Status line and headers. */
export interface ResponseHead {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
}

/** Collects a head; what follows it is handed back. */
export class HeadReader {
  #bytes: Buffer | undefined;

  /** Takes bytes; answers the head with the rest once it is whole. */
  push(chunk: Buffer): { readonly head: ResponseHead; readonly rest: Buffer } | undefined {
    let bytes = this.#bytes === undefined ? chunk : Buffer.concat([this.#bytes, chunk]);
    for (;;) {
      const end = bytes.indexOf("\r\n\r\n");
      if (end < 0) {
        if (bytes.length > headMaxBytes) throw malformed("head is too long");
        this.#bytes = bytes;
        return undefined;
      }
      const head = parseHead(bytes.toString("latin1", 0, end));
      bytes = bytes.subarray(end + 4);
      if (head.status === 101 || head.status >= 200) return { head, rest: bytes };
    }
  }
}

/** Turns the bytes after a head into the body's bytes. */
export interface BodyDecoder {
  /** @returns the pieces of the body in `chunk`, as views */
  push(chunk: Buffer): readonly Buffer[];
  /** The body is whole. */
  readonly isDone: boolean;
  /** The body ends with the connection. */
  readonly endsWithConnection: boolean;
}

/** Chooses the decoder that the head asks for. */
export function bodyDecoder(head: ResponseHead, method: string): BodyDecoder {
  const hasNone = method === "HEAD" || head.status === 204 || head.status === 304;
  if (hasNone) return new LengthDecoder(0);
  if (/\bchunked\b/i.test(head.headers.get("transfer-encoding") ?? "")) return new ChunkedDecoder();
  const length = head.headers.get("content-length");
  if (length === undefined) return new LengthDecoder(Number.POSITIVE_INFINITY);
  if (!/^\d{1,15}$/.test(length)) throw malformed(`length ${JSON.stringify(length)}`);
  return new LengthDecoder(Number(length));
}

class LengthDecoder implements BodyDecoder {
  readonly endsWithConnection: boolean;
  #leftBytes: number;

  constructor(sizeBytes: number) {
    this.#leftBytes = sizeBytes;
    this.endsWithConnection = sizeBytes === Number.POSITIVE_INFINITY;
  }

  get isDone(): boolean {
    return this.#leftBytes === 0;
  }

  push(chunk: Buffer): readonly Buffer[] {
    const part = this.endsWithConnection ? chunk : chunk.subarray(0, this.#leftBytes);
    this.#leftBytes -= part.length;
    return part.length === 0 ? [] : [part];
  }
}

class ChunkedDecoder implements BodyDecoder {
  readonly endsWithConnection = false;
  isDone = false;
  #state: "size" | "data" | "data-end" | "trailer" = "size";
  #line = "";
  #leftBytes = 0;

  push(chunk: Buffer): readonly Buffer[] {
    const parts: Buffer[] = [];
    let at = 0;
    while (at < chunk.length && !this.isDone) {
      if (this.#state === "data") {
        const part = chunk.subarray(at, at + this.#leftBytes);
        at += part.length;
        this.#leftBytes -= part.length;
        if (this.#leftBytes === 0) this.#state = "data-end";
        parts.push(part);
        continue;
      }
      const newline = chunk.indexOf(10, at);
      const end = newline < 0 ? chunk.length : newline;
      this.#line += chunk.toString("latin1", at, end);
      if (this.#line.length > chunkLineMaxBytes) throw malformed("chunk line is too long");
      at = end + 1;
      if (newline < 0) break;
      const line = this.#line.replace(/\r$/, "");
      this.#line = "";
      this.#takeLine(line);
    }
    return parts;
  }

  #takeLine(line: string): void {
    if (this.#state === "data-end") {
      if (line !== "") throw malformed("chunk is longer than its size");
      this.#state = "size";
    } else if (this.#state === "trailer") {
      if (line === "") this.isDone = true;
    } else {
      const size = /^([0-9a-fA-F]{1,12})\s*(?:;.*)?$/.exec(line)?.[1];
      if (size === undefined) throw malformed(`chunk size ${JSON.stringify(line)}`);
      this.#leftBytes = Number.parseInt(size, 16);
      this.#state = this.#leftBytes === 0 ? "trailer" : "data";
    }
  }
}

function parseHead(text: string): ResponseHead {
  const [statusLine = "", ...lines] = text.split("\r\n");
  const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(statusLine)?.[1];
  if (status === undefined) throw malformed(`status line ${JSON.stringify(statusLine)}`);
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return { status: Number(status), headers };
}

function malformed(what: string): EngineError {
  return new EngineError("data-loss", `read the engine's answer: malformed HTTP, ${what}`);
}
