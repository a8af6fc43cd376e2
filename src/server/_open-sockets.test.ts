import { expect, test } from "bun:test";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OpenSockets } from "./_open-sockets.ts";

test("a half-closed client is kept, one that is gone is closed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tug-lost-"));
  const accepted = Promise.withResolvers<Socket>();
  const sockets = new OpenSockets();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.watch(socket);
    accepted.resolve(socket);
  });
  server.listen(join(folder, "s"));
  await once(server, "listening");
  const theirs = connect({ path: join(folder, "s"), allowHalfOpen: true });
  const ours = await accepted.promise;
  ours.resume();
  theirs.end();
  await once(ours, "end");
  await Bun.sleep(1200);
  expect(ours.destroyed).toBe(false);
  theirs.destroy();
  await Bun.sleep(1300);
  expect(ours.destroyed).toBe(true);
  server.close();
  rmSync(folder, { recursive: true });
});
