import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../lib/log.ts";
import { hashPassword, verifyPassword } from "../../sys/password.ts";
import { openHtpasswd, parseHtpasswd } from "./htpasswd.ts";

const hash = `$2y$05$${"a".repeat(53)}`;
const secretHash = await hashPassword("secret");

describe("lines of users", () => {
  test("are read, without comments and empty lines", () => {
    const users = parseHtpasswd(`# users\n\nann:${hash}\r\nbob@x.example:${hash}\n`);
    expect([...users.keys()]).toEqual(["ann", "bob@x.example"]);
  });

  test.each([
    ["ann", "line 1: wanted"],
    ["ann:", "line 1: wanted"],
    ["ann:secret", "htpasswd -B"],
    ["ann:$apr1$abc$def", "htpasswd -B"],
    ["ann:{SHA}abc", "htpasswd -B"],
    [`:${hash}`, "line 1"],
    [`\nann:${hash}x`, "line 2"],
    [`ann:${hash.replace("05", "31")}`, "cost 31"],
    [`ann:${hash.replace("05", "00")}`, "cost 00"],
  ])("%p is refused", (text, sentence) => {
    expect(() => parseHtpasswd(text)).toThrow(sentence);
  });
});

describe("a file of users", () => {
  test("knows right from wrong, also the second time, and is read again when it changes", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tug-users-"));
    try {
      const path = join(folder, "users");
      writeFileSync(path, `ann:${secretHash}\n`);
      const users = openHtpasswd(path, { logger: silentLogger });
      for (let round = 0; round < 2; round += 1) {
        expect(await users.check("ann", "secret")).toBe(true);
        expect(await users.check("ann", "Secret")).toBe(false);
        expect(await users.check("bob", "secret")).toBe(false);
        expect(await users.check("ann", "")).toBe(false);
        expect(await users.check("ann", `secret${"x".repeat(80)}`)).toBe(false);
        expect(await users.check("ann", "secret\0")).toBe(false);
      }
      writeFileSync(path, `bob:${secretHash}\n# another size\n`);
      await Bun.sleep(1_050);
      expect(await users.check("ann", "secret")).toBe(false);
      expect(await users.check("bob", "secret")).toBe(true);
      writeFileSync(path, "nonsense");
      await Bun.sleep(1_050);
      expect(await users.check("bob", "secret")).toBe(true);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("takes as long for a user that is none as for the others", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tug-users-"));
    try {
      const cheap = await Bun.password.hash("secret", { algorithm: "bcrypt", cost: 4 });
      const lines = ["ann", "bob"].map((name) => `${name}:${cheap.replace("$2b$", "$2y$")}`);
      writeFileSync(join(folder, "users"), [...lines, `dear:${secretHash}`].join("\n"));
      const users = openHtpasswd(join(folder, "users"), { logger: silentLogger });
      const fastestMs = async (user: string): Promise<number> => {
        const times: number[] = [];
        for (let round = 0; round < 8; round += 1) {
          const startMs = performance.now();
          expect(await users.check(user, `wrong ${round}`)).toBe(false);
          times.push(performance.now() - startMs);
        }
        return Math.min(...times);
      };
      // The dear one takes 64 times as long.
      expect(await fastestMs("nobody")).toBeLessThan(8 * (await fastestMs("ann")));
      expect(await users.check("nobody", "secret")).toBe(false);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("that is not there is refused by its name", () => {
    expect(() => openHtpasswd("/no/such/users", { logger: silentLogger })).toThrow(
      "/no/such/users",
    );
  });
});

test("hashes are those of Apache", async () => {
  expect(secretHash).toMatch(/^\$2y\$10\$/);
  expect(await verifyPassword("secret", secretHash)).toBe(true);
  expect(await verifyPassword("secret", secretHash.replace("$2y$", "$2a$"))).toBe(true);
});
