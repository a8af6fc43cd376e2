/** Stands between an engine and a registry: counts what passes, and slows it down. */
import { request as httpRequest, createServer } from "node:http";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

/** One answer to a request for a blob's bytes. */
export interface BlobTransfer {
  readonly digest: string;
  /** As the client asked: "bytes=5-"; undefined for all. */
  readonly range: string | undefined;
  sizeBytes: number;
}

/** A proxy that belongs to a test. */
export interface RegistryProxy {
  /** As it stands in references. */
  readonly host: string;
  readonly blobs: readonly BlobTransfer[];
  /** `METHOD path` of all requests. */
  readonly requests: readonly string[];
  /** Blobs larger than this pass at `bytesPerSecond`; as fast as they can when undefined. */
  bytesPerSecond: number | undefined;
  [Symbol.asyncDispose](): Promise<void>;
}

const slowFromBytes = 64 * 1024;
const chunkBytes = 64 * 1024;

/** Starts a proxy before a registry that speaks plain HTTP. */
export async function startRegistryProxy(registryHost: string): Promise<RegistryProxy> {
  const blobs: BlobTransfer[] = [];
  const requests: string[] = [];
  const [hostname, port] = registryHost.split(":");
  const server = createServer((incoming, outgoing) => {
    const path = incoming.url ?? "/";
    requests.push(`${incoming.method} ${path}`);
    const onward = httpRequest(
      { hostname, port, path, method: incoming.method, headers: incoming.headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        void pass(answer, incoming.method === "GET" ? path : "");
      },
    );
    onward.on("error", () => outgoing.destroy());
    incoming.pipe(onward);
    const pass = async (answer: AsyncIterable<Buffer> & { destroy(): void }, blobPath: string) => {
      const digest = /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(blobPath)?.[1];
      const transfer = { digest: digest ?? "", range: incoming.headers.range, sizeBytes: 0 };
      if (digest !== undefined) blobs.push(transfer);
      outgoing.once("close", () => answer.destroy());
      try {
        for await (const part of answer) {
          for (let at = 0; at < part.length; at += chunkBytes) {
            if (outgoing.destroyed) return;
            const chunk = part.subarray(at, at + chunkBytes);
            transfer.sizeBytes += chunk.length;
            if (!outgoing.write(chunk)) await Promise.race([once(outgoing, "drain"), sleep(1000)]);
            const rate = proxy.bytesPerSecond;
            if (rate !== undefined && digest !== undefined && transfer.sizeBytes > slowFromBytes) {
              await sleep((chunk.length / rate) * 1000);
            }
          }
        }
        outgoing.end();
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        outgoing.destroy();
      }
    };
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const proxy: RegistryProxy = {
    host: `127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
    blobs,
    requests,
    bytesPerSecond: undefined,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return proxy;
}
