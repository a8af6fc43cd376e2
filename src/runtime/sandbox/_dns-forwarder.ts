/**
 * The resolver of a sandbox at 127.0.0.11: answers the names it is given, forwards the rest.
 *
 * A query leaves by a socket of its own in the host's network, so that resolvers on the host's
 * loopback can be asked, and no answer but that of the one who was asked is taken.
 */
import { readFileSync, statSync } from "node:fs";
import { codeOf } from "../../lib/errors.ts";
import {
  bindDatagram,
  connectDatagram,
  type DatagramSocket,
} from "../../sys/net/datagram-socket.ts";
import { inNamespace } from "../../sys/namespace.ts";
import { listenTcpFd } from "../../sys/net/socket.ts";
import {
  acceptStreams,
  connectTcpStream,
  type StreamConnection,
} from "../../sys/net/stream-socket.ts";
import {
  addressBytes,
  emptyAnswer,
  encodeName,
  parseQuestion,
  recordsAnswer,
  recordType,
  reverseName,
} from "./_dns-message.ts";

const listenHost = "127.0.0.11";
const dnsPort = 53;
const outstandingCountMax = 256;
const streamCountMax = 64;
const streamIdleMs = 10_000;
const streamMessageMaxBytes = 65_535;
// Docker: 4 s for an upstream, three of them asked, seen in 28.5.
const upstreamWaitMs = 4000;
const upstreamCountMax = 3;
const resolvConfPath = "/etc/resolv.conf";
const resolvConfLookMs = 1000;
const codeFormatError = 1;
const codeServerFailure = 2;

/** What the forwarder needs. */
export interface DnsForwarderOptions {
  readonly upstreams: readonly string[];
  readonly names: Readonly<Record<string, readonly string[]>>;
  readonly hostNetworkFd: number;
}

/** Listens in the own network namespace. */
export async function openDnsForwarder(options: DnsForwarderOptions): Promise<{ close(): void }> {
  const forwarder = new DnsForwarder(options);
  await forwarder.listen();
  return forwarder;
}

class DnsForwarder {
  readonly #options: DnsForwarderOptions;
  readonly #names = new Map<string, readonly string[]>();
  readonly #reverse = new Map<string, string>();
  readonly #closers: { close(): void }[] = [];
  #outstandingCount = 0;
  #hostUpstreams: readonly string[] = [];
  #hostUpstreamsStamp = "";
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: DnsForwarderOptions) {
    this.#options = options;
    for (const [name, addresses] of Object.entries(options.names)) {
      this.#names.set(name.toLowerCase().replace(/\.$/, ""), addresses);
      for (const address of addresses) {
        const reverse = reverseName(address);
        if (reverse !== undefined && !this.#reverse.has(reverse)) this.#reverse.set(reverse, name);
      }
    }
  }

  async listen(): Promise<void> {
    const socket = await bindDatagram(
      { host: listenHost, port: dnsPort },
      {
        onMessage: (bytes, from) =>
          void this.#answer(asBuffer(bytes), false).then((answer) => {
            if (answer !== undefined) socket.send(answer, from);
          }),
      },
    );
    this.#closers.push(socket, this.#listenStreams());
  }

  close(): void {
    for (const each of this.#closers.splice(0)) each.close();
  }

  /** @returns undefined for what deserves no answer */
  async #answer(query: Buffer, isStream: boolean): Promise<Buffer | undefined> {
    const question = parseQuestion(query);
    if (question === undefined) {
      const isQuery = query.length >= 12 && ((query[2] ?? 0) & 0x80) === 0;
      return isQuery ? emptyAnswer(query, undefined, codeFormatError) : undefined;
    }
    const own = this.#ownRecords(question.name, question.type);
    if (own !== undefined) return recordsAnswer(query, question, own);
    const failure = emptyAnswer(query, question, codeServerFailure);
    if (this.#outstandingCount >= outstandingCountMax) return failure;
    this.#outstandingCount += 1;
    try {
      for (const upstream of this.#upstreams()) {
        const answer = isStream
          ? await this.#askByStream(query, upstream)
          : await this.#askByDatagram(query, upstream);
        if (answer !== undefined) return answer;
      }
      return failure;
    } finally {
      this.#outstandingCount -= 1;
    }
  }

  /** The records of a name that is known here; none of that type is an answer as well. */
  #ownRecords(name: string, type: number): Buffer[] | undefined {
    if (type === recordType.ptr) {
      const target = this.#reverse.get(name);
      return target === undefined ? undefined : [encodeName(target)];
    }
    const addresses = this.#names.get(name);
    if (addresses === undefined) return undefined;
    const size = type === recordType.a ? 4 : type === recordType.aaaa ? 16 : 0;
    return addresses.flatMap((address) => {
      const bytes = addressBytes(address);
      return bytes?.length === size ? [bytes] : [];
    });
  }

  #upstreams(): readonly string[] {
    const given = this.#options.upstreams;
    const all = given.length > 0 ? given : this.#ofHost();
    return all.slice(0, upstreamCountMax);
  }

  #ofHost(): readonly string[] {
    const now = performance.now();
    if (now - this.#lookedAtMs < resolvConfLookMs) return this.#hostUpstreams;
    this.#lookedAtMs = now;
    try {
      const { mtimeMs, ino, size } = statSync(resolvConfPath);
      const stamp = `${mtimeMs} ${ino} ${size}`;
      if (stamp !== this.#hostUpstreamsStamp) {
        this.#hostUpstreams = parseNameservers(readFileSync(resolvConfPath, "utf8"));
        this.#hostUpstreamsStamp = stamp;
      }
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      this.#hostUpstreams = [];
    }
    return this.#hostUpstreams;
  }

  async #askByDatagram(query: Buffer, upstream: string): Promise<Buffer | undefined> {
    const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
    const timer = setTimeout(() => resolve(undefined), upstreamWaitMs);
    let socket: DatagramSocket | undefined;
    try {
      socket = await inNamespace(this.#options.hostNetworkFd, "net", () =>
        connectDatagram(
          { host: upstream, port: dnsPort },
          {
            onMessage(bytes) {
              const answer = asBuffer(bytes);
              if (isAnswerTo(answer, query)) resolve(answer);
            },
            onError: () => resolve(undefined),
          },
        ),
      );
      socket.send(query);
      return await promise;
    } catch (error) {
      // No route, a family the host lacks: the next upstream may be better.
      if (error instanceof Error) return undefined;
      throw error;
    } finally {
      clearTimeout(timer);
      socket?.close();
    }
  }

  async #askByStream(query: Buffer, upstream: string): Promise<Buffer | undefined> {
    const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
    const timer = setTimeout(() => resolve(undefined), upstreamWaitMs);
    const reader = new StreamMessages((answer) => {
      if (isAnswerTo(answer, query)) resolve(answer);
    });
    const opened = inNamespace(this.#options.hostNetworkFd, "net", () =>
      connectTcpStream(
        { host: upstream, port: dnsPort },
        {
          open: (connection) => void connection.write(framed(query)),
          data: (connection, bytes) => {
            if (!reader.push(asBuffer(bytes))) connection.close();
          },
          close: () => resolve(undefined),
        },
      ),
    );
    void opened.then((connection) => {
      if (connection === undefined) resolve(undefined);
    });
    const answer = await promise;
    clearTimeout(timer);
    void opened.then((connection) => connection?.close());
    return answer;
  }

  #listenStreams(): { close(): void } {
    const { fd } = listenTcpFd({ host: listenHost, port: dnsPort, reuseAddress: true });
    const clients = new Map<StreamConnection, StreamMessages>();
    const timers = new Map<StreamConnection, ReturnType<typeof setTimeout>>();
    const arm = (client: StreamConnection): void => {
      clearTimeout(timers.get(client));
      timers.set(
        client,
        setTimeout(() => client.close(), streamIdleMs),
      );
    };
    return acceptStreams(fd, {
      open: (client) => {
        if (clients.size >= streamCountMax) {
          client.close();
          return;
        }
        arm(client);
        const reply = async (query: Buffer): Promise<void> => {
          const answer = await this.#answer(query, true);
          if (answer !== undefined && clients.has(client)) client.write(framed(answer));
        };
        clients.set(client, new StreamMessages((query) => void reply(query)));
      },
      data: (client, bytes) => {
        arm(client);
        if (clients.get(client)?.push(asBuffer(bytes)) !== true) client.close();
      },
      close: (client) => {
        clients.delete(client);
        clearTimeout(timers.get(client));
        timers.delete(client);
      },
    });
  }
}

/** Cuts a stream into messages by the two bytes of length before each. */
class StreamMessages {
  readonly #onMessage: (message: Buffer) => void;
  #rest: Buffer = Buffer.alloc(0);

  constructor(onMessage: (message: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  /** @returns false when more waits than a message may have */
  push(bytes: Buffer): boolean {
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
      const end = 2 + rest.readUInt16BE(0);
      this.#onMessage(rest.subarray(2, end));
      rest = rest.subarray(end);
    }
    this.#rest = rest;
    return rest.length <= 2 + streamMessageMaxBytes;
  }
}

function framed(message: Buffer): Buffer {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(message.length, 0);
  return Buffer.concat([head, message]);
}

function isAnswerTo(answer: Buffer, query: Buffer): boolean {
  return (
    answer.length >= 12 &&
    ((answer[2] ?? 0) & 0x80) !== 0 &&
    answer.readUInt16BE(0) === query.readUInt16BE(0)
  );
}

/** The resolvers of a resolv.conf, without the address that a sandbox's own has. */
export function parseNameservers(text: string): string[] {
  return text.split("\n").flatMap((line) => {
    const [, address = ""] =
      /^\s*nameserver\s+([\da-fA-F.:]+)(?:%\S+)?\s*(?:[#;].*)?$/.exec(line) ?? [];
    return address === "" || address === listenHost ? [] : [address];
  });
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
