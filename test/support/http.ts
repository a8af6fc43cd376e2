/** The Engine API as bytes: no client library between the test and the daemon. */
import { connect, type Socket } from "node:net";
import { once } from "node:events";

/** An answer, read to its end. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly bytes: Uint8Array;
  /** The body as JSON; undefined when it is none. */
  readonly json: unknown;
  /** `message` of an error answer; "" when there is none. */
  readonly message: string;
}

/** What goes with a request. */
export interface RequestOptions {
  /** Sent as it is when text or bytes, as JSON otherwise. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

const requestTimeoutMs = 60_000;

/** Sends a request over a unix socket and reads the whole answer. */
export async function request(
  socketPath: string,
  target: { readonly method: string; readonly path: string },
  options: RequestOptions = {},
): Promise<Answer> {
  const response = await openRequest(socketPath, target, options);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const text = new TextDecoder().decode(bytes);
  const json = parseJson(text);
  const message =
    typeof json === "object" && json !== null ? String(Reflect.get(json, "message") ?? "") : "";
  return { status: response.status, headers: response.headers, text, bytes, json, message };
}

/** Sends a request and leaves the body of the answer to be read. */
export async function openRequest(
  socketPath: string,
  target: { readonly method: string; readonly path: string },
  options: RequestOptions = {},
): Promise<Response> {
  const { body, headers } = options;
  const isRaw = typeof body === "string" || body instanceof Uint8Array;
  return await fetch(`http://engine${target.path}`, {
    unix: socketPath,
    method: target.method,
    signal: options.signal ?? AbortSignal.timeout(requestTimeoutMs),
    redirect: "manual",
    ...(body === undefined ? {} : { body: isRaw ? body : JSON.stringify(body) }),
    headers: {
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...headers,
    },
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** A connection on which the test writes HTTP by hand. */
export interface RawConnection {
  readonly socket: Socket;
  /** All bytes that have come. */
  readonly received: Buffer;
  send(text: string | Uint8Array): void;
  /** Resolves when the other side has ended. */
  readonly ended: Promise<void>;
  [Symbol.dispose](): void;
}

/** Opens a connection to a unix socket. Use `using`, which breaks it off. */
export async function openRaw(socketPath: string): Promise<RawConnection> {
  const socket = connect({ path: socketPath, allowHalfOpen: true });
  await once(socket, "connect");
  let received: Buffer = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
  });
  const ended = Promise.withResolvers<void>();
  for (const name of ["end", "close", "error"]) socket.on(name, () => ended.resolve());
  return {
    socket,
    get received() {
      return received;
    },
    send: (text) => void socket.write(text),
    ended: ended.promise,
    [Symbol.dispose]: () => void socket.destroy(),
  };
}

/** One frame of a multiplexed stream. */
export interface Frame {
  readonly stream: "stdin" | "stdout" | "stderr";
  readonly text: string;
}

/** Takes a multiplexed stream apart. */
export function readFrames(bytes: Uint8Array): readonly Frame[] {
  const names = ["stdin", "stdout", "stderr"] as const;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const frames: Frame[] = [];
  for (let offset = 0; offset + 8 <= bytes.length; ) {
    const size = view.getUint32(offset + 4);
    const stream = names[bytes[offset] ?? 0] ?? "stdin";
    const text = new TextDecoder().decode(bytes.subarray(offset + 8, offset + 8 + size));
    frames.push({ stream, text });
    offset += 8 + size;
  }
  return frames;
}
