import { describe, expect, test } from "bun:test";
import { connect, createServer } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { nextTurn, Turns, turnBytes } from "./turn.ts";

describe("nextTurn()", () => {
  test("serves who waits for input while a task finds all its writes done", async () => {
    const folder = mkdtempSync("/tmp/tug-turn-");
    const path = join(folder, "socket");
    const server = createServer((socket) => void socket.end("x"));
    await new Promise<void>((resolve) => void server.listen(path, resolve));
    await using file = await open(join(folder, "file"), "w");
    try {
      let isOver = false;
      let turnCount = 0;
      const work = (async () => {
        const piece = new Uint8Array(4096);
        while (!isOver) {
          await file.write(piece, 0, piece.length, 0);
          turnCount += 1;
          await nextTurn();
        }
      })();
      const answer = await new Promise<string>((resolve, reject) => {
        const client = connect(path);
        client.on("data", (bytes) => resolve(String(bytes)));
        client.on("error", reject);
      });
      isOver = true;
      await work;
      expect(answer).toBe("x");
      // Some turns each for connecting, accepting and answering.
      expect(turnCount).toBeLessThan(100);
    } finally {
      server.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("Turns", () => {
  /** How often others came to run while so many bytes were moved. */
  async function turnsTaken(pieceBytes: number, count: number): Promise<number> {
    let taken = 0;
    let isOver = false;
    const tick = (): void => {
      taken += 1;
      if (!isOver) setImmediate(tick);
    };
    setImmediate(tick);
    const turns = new Turns();
    for (let at = 0; at < count; at += 1) await turns.moved(pieceBytes);
    isOver = true;
    return taken;
  }

  test("are taken once in `turnBytes`, whatever the size of the pieces", async () => {
    expect(await turnsTaken(turnBytes, 5)).toBe(5);
    expect(await turnsTaken(turnBytes / 16, 80)).toBe(5);
    expect(await turnsTaken(turnBytes * 4, 5)).toBe(5);
    expect(await turnsTaken(1, 1000)).toBe(0);
  });
});
