/** Hijacked connections, by hand: what is sent when, and every byte that comes back. */
import type { RawConnection } from "../support/http.ts";
import { readFrames } from "../support/http.ts";
import type { Talk } from "./talk.ts";

/** A request that takes the connection, and what is said on it. */
export interface Conversation {
  /** As `POST /containers/x/attach?stream=1`. */
  readonly target: string;
  readonly version?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Asks for the change of protocol. */
  readonly upgrade?: boolean;
  /** Sent once the head of the answer is here. */
  readonly input?: string | Uint8Array;
  /** Ends the sending side after the input. */
  readonly half?: boolean;
  /** Called once the head of the answer is here. */
  readonly meanwhile?: () => Promise<unknown>;
  /** How the bytes are read. */
  readonly read?: "frames" | "text" | "websocket";
}

const answerMaxMs = 8_000;

/** Holds a conversation to its end and writes it down. */
export async function converse(talk: Talk, label: string, what: Conversation): Promise<void> {
  using connection = await talk.raw();
  const split = what.target.indexOf(" ");
  const body = what.body === undefined ? "" : JSON.stringify(what.body);
  const headers: Record<string, string> = {
    Host: "docker",
    ...(what.upgrade === true ? { Connection: "Upgrade", Upgrade: "tcp" } : {}),
    ...(body === "" ? {} : { "Content-Type": "application/json" }),
    ...(what.read === "websocket" ? webSocketHeaders : {}),
    ...(what.read === "websocket" ? {} : { "Content-Length": String(Buffer.byteLength(body)) }),
    ...what.headers,
  };
  const method = what.target.slice(0, split);
  const path = `/v${what.version ?? "1.51"}${what.target.slice(split + 1)}`;
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  connection.send(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body}`);
  const head = await headOf(connection);
  const isTaken = /^HTTP\/1.1 (101|200)/.test(head);
  if (isTaken && what.input !== undefined) connection.send(what.input);
  if (isTaken && what.half === true) connection.socket.end();
  if (isTaken) await what.meanwhile?.();
  const isEnded = await Promise.race([
    isTaken ? connection.ended.then(() => true) : Bun.sleep(50).then(() => true),
    Bun.sleep(answerMaxMs).then(() => false),
  ]);
  const bytes = connection.received.subarray(Buffer.byteLength(head, "latin1") + 4);
  talk.note(label, { head: plainHead(head), isEnded, bytes: readBytes(bytes, isTaken, what) });
}

async function headOf(connection: RawConnection): Promise<string> {
  const end = performance.now() + answerMaxMs;
  for (;;) {
    const at = connection.received.indexOf("\r\n\r\n");
    if (at >= 0) return connection.received.toString("latin1", 0, at);
    if (performance.now() > end) return "no answer";
    await Bun.sleep(5);
  }
}

/** The head without what is of the moment or of HTTP's own. */
function plainHead(head: string): readonly string[] {
  const [status = "", ...headers] = head.split("\r\n");
  const own = /^(date|server|keep-alive|content-length|transfer-encoding|connection: keep-alive)/i;
  return [
    status,
    ...headers
      .filter((line) => !own.test(line))
      .map(lowerName)
      .sort(),
  ];
}

function lowerName(line: string): string {
  const colon = line.indexOf(":");
  return line.slice(0, colon).toLowerCase() + line.slice(colon);
}

function readBytes(bytes: Buffer, isTaken: boolean, what: Conversation): unknown {
  if (!isTaken) return bytes.toString().replaceAll(/^[0-9a-f]+\r\n|\r\n0\r\n\r\n$|\s+$/g, "");
  if (what.read === "websocket") return readWebSocket(bytes);
  if (what.read !== "frames") return bytes.toString("latin1");
  return joinFrames(readFrames(bytes));
}

/** Where one write ends and the next begins is chance; the order within a stream is not. */
export function joinFrames(
  frames: readonly { readonly stream: string; readonly text: string }[],
): Readonly<Record<string, string>> {
  const joined: Record<string, string> = {};
  for (const { stream, text } of frames) joined[stream] = (joined[stream] ?? "") + text;
  return joined;
}

const webSocketHeaders: Readonly<Record<string, string>> = {
  Connection: "Upgrade",
  Upgrade: "websocket",
  Origin: "http://docker",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
};

/** A client's frame of text, masked with zeros. */
export function webSocketFrame(text: string): Uint8Array {
  const payload = Buffer.from(text);
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
}

/** What a server's frames say by their kind, joined. */
function readWebSocket(bytes: Buffer): Readonly<Record<string, string>> {
  const joined: Record<string, string> = {};
  for (let offset = 0; offset + 2 <= bytes.length; ) {
    const kind = `opcode ${(bytes[offset] ?? 0) & 15}`;
    const short = bytes[offset + 1] ?? 0;
    const size = short === 126 ? bytes.readUInt16BE(offset + 2) : short;
    offset += short === 126 ? 4 : 2;
    joined[kind] = (joined[kind] ?? "") + bytes.toString("latin1", offset, offset + size);
    offset += size;
  }
  return joined;
}
