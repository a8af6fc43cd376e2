import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openTransport } from "../../client/transport.ts";
import { openSession } from "./session.ts";

const folder = mkdtempSync(join(tmpdir(), "tug-session-"));
const path = join(folder, "engine.sock");
let server: Server;

beforeAll(async () => {
  server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => {
      socket.end("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

test.each([0, 20])("a stream that is over %d ms before the session begins ends it", async (ms) => {
  const transport = openTransport({ kind: "unix", path });
  const hijacked = await transport.hijack("POST /exec/x/start");
  await Bun.sleep(ms);
  await using session = openSession(hijacked, {
    hasInput: false,
    hasOutput: true,
    isTty: false,
    detachKeys: "",
  });
  expect(await session.ended).toBe("closed");
});
