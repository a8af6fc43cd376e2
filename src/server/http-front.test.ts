import { expect, test } from "bun:test";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createHttpFront, hijack } from "./http-front.ts";

const clientCount = 40;
/** A collector that reads stacks as they are may take something for a reference that is none. */
const leftMax = 8;

for (const [what, request] of [
  ["a connection taken with an upgrade", "Connection: Upgrade\r\nUpgrade: tcp\r\n"],
  ["a connection taken without one", ""],
] as const) {
  test(`${what} is forgotten when it is closed`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "tug-front-"));
    const path = join(folder, "s");
    const taken: WeakRef<object>[] = [];
    const front = createHttpFront((incoming, response) => {
      const { socket } = hijack(incoming, { response, head: "HTTP/1.1 101 UPGRADED" });
      taken.push(new WeakRef(socket));
      socket.on("data", (chunk: Buffer) => socket.end(chunk));
    });
    const server = createServer({ allowHalfOpen: true }, (socket) => front.accept(socket));
    server.listen(path);
    await once(server, "listening");
    for (let count = 0; count < clientCount; count += 1)
      expect(await talk(path, request)).toBe("hi");
    // Connections are looked after once a second.
    for (let round = 0; round < 50 && alive(taken) > leftMax; round += 1) {
      await Bun.sleep(100);
      Bun.gc(true);
    }
    expect(taken).toHaveLength(clientCount);
    expect(alive(taken)).toBeLessThanOrEqual(leftMax);
    front.close();
    server.close();
    rmSync(folder, { recursive: true });
  });
}

/** Has a connection taken, says "hi", and answers what comes back. */
async function talk(path: string, headers: string): Promise<string> {
  const socket = connect({ path, allowHalfOpen: true });
  socket.write(
    `POST /v1.51/session?x=1 HTTP/1.1\r\nHost: x\r\n${headers}Content-Length: 0\r\n\r\n`,
  );
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
    if (text.endsWith("\r\n\r\n")) socket.write("hi");
  });
  await once(socket, "end");
  socket.end();
  await once(socket, "close");
  return text.slice(text.indexOf("\r\n\r\n") + 4);
}

const alive = (references: readonly WeakRef<object>[]): number =>
  references.filter((reference) => reference.deref() !== undefined).length;
