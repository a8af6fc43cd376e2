/** Writes the head of an HTTP/1.1 request. */
import type { Endpoint } from "./endpoint.ts";

/** What a head tells. */
export interface RequestHead {
  readonly method: string;
  readonly path: string;
  readonly userAgent?: string;
  /** Media type of the body; absent when there is none. */
  readonly contentType?: string;
  /** Length of the body; absent when it comes in chunks, or not at all. */
  readonly sizeBytes?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Headers of several values, each sent in a line of its own. */
  readonly repeatedHeaders?: Readonly<Record<string, readonly string[]>>;
}

/** The head as text, with the empty line that ends it; one request to a connection. */
export function formatHead(endpoint: Endpoint, head: RequestHead): string {
  const { method, contentType, sizeBytes } = head;
  const isTcp = endpoint.kind === "tcp";
  const headers: Record<string, string> = {
    Host: isTcp ? `${endpoint.host}:${endpoint.port}` : "docker",
    "User-Agent": head.userAgent ?? "tug",
  };
  if (contentType !== undefined) {
    headers["Content-Type"] = contentType;
    if (sizeBytes === undefined) headers["Transfer-Encoding"] = "chunked";
    else headers["Content-Length"] = String(sizeBytes);
  } else if (method !== "GET") {
    headers["Content-Length"] = "0";
  }
  headers["Connection"] = "close";
  Object.assign(headers, head.headers);
  let text = `${method} ${isTcp ? endpoint.basePath : ""}${head.path} HTTP/1.1\r\n`;
  for (const name in headers) text += `${name}: ${headers[name]}\r\n`;
  for (const [name, values] of Object.entries(head.repeatedHeaders ?? {})) {
    for (const value of values) text += `${name}: ${value}\r\n`;
  }
  return `${text}\r\n`;
}
