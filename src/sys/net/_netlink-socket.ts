import { closeSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import {
  attributeText,
  parseAttributes,
  parseReplies,
  type Reply,
  type RequestWriter,
} from "./_netlink-message.ts";
import { check, errno, errnoName, lazyLibc, systemFailure } from "../libc.ts";

const libc = lazyLibc({
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  send: { args: ["i32", "ptr", "u64", "i32"], returns: "i64" },
  recv: { args: ["i32", "ptr", "u64", "i32"], returns: "i64" },
});

const familyNetlink = 16;
const typeRawCloseOnExec = 3 | 0o2000000;
const protocolRoute = 0;
const solNetlink = 270;
const capAcknowledge = 10;
const extendedAcknowledge = 11;
const solSocket = 1;
const soReceiveTimeout = 20;
/** The kernel answers within the call; without an answer after this something is wrong. */
const answerTimeoutSeconds = 5n;
/** The kernel's datagrams are at most this long when the reader offers it. */
const datagramSizeMaxBytes = 32_768;

const typeError = 2;
const typeDone = 3;
const flagMulti = 2;
const flagDumpInterrupted = 0x10;
const flagAcknowledgeAttributes = 0x200;
const attributeMessage = 1;
const dumpAttemptCountMax = 10;

/** A NETLINK_ROUTE socket of the network namespace this thread is in at the time. */
export class NetlinkSocket {
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(datagramSizeMaxBytes);
  #sequence = 0;
  #isOpen = true;

  constructor() {
    this.#fd = check(
      libc().socket(familyNetlink, typeRawCloseOnExec, protocolRoute),
      "open netlink socket",
    );
    const on = new Int32Array([1]);
    // Older kernels have neither; the answers are then longer or without a text.
    libc().setsockopt(this.#fd, solNetlink, capAcknowledge, on, 4);
    libc().setsockopt(this.#fd, solNetlink, extendedAcknowledge, on, 4);
    const timeout = new BigInt64Array([answerTimeoutSeconds, 0n]);
    libc().setsockopt(this.#fd, solSocket, soReceiveTimeout, timeout, 16);
  }

  close(): void {
    if (this.#isOpen) closeSync(this.#fd);
    this.#isOpen = false;
  }

  /** Sends a request and returns what the kernel answers before its acknowledgement. */
  request(what: string, request: RequestWriter): Reply[] {
    this.#sequence = (this.#sequence + 1) >>> 0;
    const message = request.finish(this.#sequence);
    check(libc().send(this.#fd, message, message.length, 0), what);
    const replies: Reply[] = [];
    for (;;) {
      for (const reply of this.#receive(what)) {
        // Late answers of a request that was given up.
        if (reply.sequence !== this.#sequence) continue;
        if (reply.type === typeError) {
          throwFailure(reply, what);
          return replies;
        }
        if (reply.type === typeDone) return replies;
        replies.push(reply);
      }
    }
  }

  /** As `request` for a list, asked again when it changed while it was read. */
  dump(what: string, request: () => RequestWriter): Reply[] {
    for (let attempt = 1; ; attempt += 1) {
      const replies = this.request(what, request());
      const isWhole = replies.every(
        (reply) => (reply.flags & flagMulti) !== 0 && (reply.flags & flagDumpInterrupted) === 0,
      );
      if (isWhole || attempt === dumpAttemptCountMax) return replies;
    }
  }

  #receive(what: string): Reply[] {
    const size = Number(libc().recv(this.#fd, this.#buffer, this.#buffer.length, 0));
    if (size < 0 && errnoName(errno()) === "EAGAIN") {
      throw new EngineError("unavailable", `${what}: no answer of the kernel`);
    }
    check(size, what);
    // A copy: replies are kept while the next datagram is read.
    return parseReplies(Buffer.from(this.#buffer.subarray(0, size)));
  }
}

function throwFailure(reply: Reply, what: string): void {
  const number = -reply.payload.readInt32LE(0);
  if (number === 0) return;
  const failure = systemFailure(number, what);
  const isMissing = ["ENODEV", "ESRCH", "ENXIO"].includes(errnoName(number));
  // After the error number comes the header of the request.
  const hasText = (reply.flags & flagAcknowledgeAttributes) !== 0;
  const attributes = hasText ? parseAttributes(reply.payload.subarray(20)) : undefined;
  const text = attributeText(attributes?.get(attributeMessage));
  throw new EngineError(
    isMissing ? "not-found" : failure.kind,
    text === undefined ? failure.message : `${failure.message} (${text})`,
    { cause: failure.cause, details: failure.details },
  );
}
