import { expect, test } from "bun:test";
import { silentLogger } from "../lib/log.ts";
import type { ShimConnection } from "./_shim-connection.ts";
import { ShimClient } from "./shim-client.ts";

function client(): {
  readonly shim: ShimClient;
  readonly asked: string[];
  readonly answer: PromiseWithResolvers<unknown>;
} {
  const asked: string[] = [];
  const answer = Promise.withResolvers<unknown>();
  const connection = {
    isClosed: false,
    listen: () => undefined,
    request: ({ op }: { readonly op: string }) => {
      asked.push(op);
      return op === "renew" ? answer.promise : Promise.resolve({ phase: "running" });
    },
    close: () => void asked.push("close"),
  } as unknown as ShimConnection;
  const options = { directory: "/nowhere", name: "shim0", pid: 1, logger: silentLogger };
  return { shim: new ShimClient(connection, options), asked, answer };
}

test("from its renewal on a shim is not asked nor ended by whom it has served", async () => {
  const { shim, asked, answer } = client();
  const renewed = shim.renew("/next");
  for (const isAnswered of [false, true]) {
    if (isAnswered) answer.resolve(null);
    if (isAnswered) await renewed;
    await expect(shim.state()).rejects.toThrow("ask shim: it is gone");
    await expect(shim.resize({ rows: 1, columns: 1 })).rejects.toThrow("it is gone");
    await expect(shim.closeStdin()).rejects.toThrow("it is gone");
    await shim.abandon();
    shim.disconnect();
    expect(asked).toEqual(["renew"]);
  }
});

test("a shim that is not renewed is ended by whom it has served", async () => {
  const { shim, asked, answer } = client();
  answer.reject(new Error("no"));
  await expect(shim.renew("/next")).rejects.toThrow("no");
  expect((await shim.state()).phase).toBe("running");
  shim.disconnect();
  expect(asked).toEqual(["renew", "state", "close"]);
});
