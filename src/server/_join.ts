import type { Duplex } from "node:stream";

/** Two streams to join, and bytes of the client's that were read already. */
interface Join {
  readonly client: Duplex;
  readonly process: Duplex;
  readonly early: Buffer;
}

/**
 * Joins a client to a process until the process's output has ended and reached the client.
 *
 * The client's half-close ends stdin only. A client that is lost is detached; the process stays.
 * Either side that is slow holds the other back.
 */
export async function joinStreams({ client, process, early }: Join): Promise<void> {
  await new Promise<void>((resolve) => {
    const detach = (): void => {
      process.destroy();
      resolve();
    };
    client.on("data", (chunk: Buffer) => {
      if (!process.destroyed && process.writable && !process.write(chunk)) client.pause();
    });
    process.on("drain", () => client.resume());
    client.on("end", () => process.end());
    client.on("error", detach);
    client.on("close", detach);

    process.on("data", (chunk: Buffer) => {
      if (client.writable && !client.write(chunk)) process.pause();
    });
    client.on("drain", () => process.resume());
    process.on("end", () => client.end());
    process.on("error", () => client.end());
    process.on("close", () => client.end());
    if (early.length > 0) process.write(early);
    // What has ended before anybody listened here does not say so again.
    if (client.readableEnded) process.end();
    if (process.readableEnded || process.destroyed) client.end();
    client.resume();
    process.resume();
  });
}
