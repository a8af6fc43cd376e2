/** What images are asked for and removed by: filters, platforms, digests, names that are none. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { referenceHost, uniqueName } from "../support/engine.ts";
import { dockerArchive, sha256 } from "../support/images.ts";
import { at, listAt, textAt } from "../support/json.ts";
import { tar } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: [] });
const ours = describe.skipIf(referenceHost !== undefined);
const stem = uniqueName("iq");
const label = `stamp=${stem}`;
const native = process.arch === "arm64" ? "arm64" : "amd64";
const other = native === "amd64" ? "arm64" : "amd64";

/** Loads an image of one small layer. */
async function load(name: string, config: Readonly<Record<string, unknown>> = {}) {
  const archive = dockerArchive({
    tags: [name],
    layers: [tar([{ name: "stamp", content: name }])],
    config: { config: { Labels: { stamp: stem } }, ...config },
  });
  return await engine.api("POST", "/images/load", archive, {
    headers: { "Content-Type": "application/x-tar" },
  });
}

const remove = async (name: string): Promise<unknown> =>
  await engine.api("DELETE", `/images/${name}?force=1`);

describe("filters", () => {
  const names = ["old", "mid", "new"].map((name) => `${stem}-${name}`);
  const [old = "", mid = "", young = ""] = names;

  beforeAll(async () => {
    for (const [at, name] of names.entries()) {
      await load(`${name}:1`, { created: `2026-01-0${at + 1}T00:00:00Z` });
    }
  });
  afterAll(async () => {
    for (const name of names) await remove(`${name}:1`);
  });

  async function list(filters: Readonly<Record<string, readonly string[]>>): Promise<unknown> {
    const text = JSON.stringify({ label: [label], ...filters });
    const answer = await engine.api("GET", `/images/json?filters=${encodeURIComponent(text)}`);
    if (answer.status !== 200) return textAt(answer.json, "message");
    return listAt(answer.json).map((image) => String(at(image, "RepoTags", 0)).split(":")[0]);
  }

  test.each([
    [`${stem}-*`, [young, mid, old]],
    [`${stem}-[mn]*`, [young, mid]],
    [`${stem}-[^mn]*`, [old]],
    [`${stem}-o\\ld`, [old]],
    [`${stem}-?ld:1`, [old]],
    [`*:2`, []],
  ])("reference=%s", async (pattern, wanted) => {
    expect(await list({ reference: [pattern] })).toEqual(wanted);
  });

  test.each([`${stem}-[a`, `${stem}-[]]`, `${stem}-\\`])("refuses the pattern %s", async (bad) => {
    expect(await list({ reference: [bad] })).toBe("syntax error in pattern");
  });

  test("a pattern of many stars is answered at once", async () => {
    const started = performance.now();
    expect(await list({ reference: [`${"*a".repeat(100)}*b`] })).toEqual([]);
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  test("until, before and since leave their moment out; of several the narrowest counts", async () => {
    expect(await list({ until: ["2026-01-02T00:00:00Z"] })).toEqual([old]);
    expect(await list({ until: ["2026-01-03T00:00:00Z", "2026-01-02T00:00:00Z"] })).toEqual([old]);
    expect(await list({ before: [`${young}:1`, `${mid}:1`] })).toEqual([old]);
    expect(await list({ since: [`${old}:1`, `${mid}:1`] })).toEqual([young]);
    expect(await list({ since: [`${old}:1`], until: ["10m"] })).toEqual([young, mid]);
  });

  test("prune takes one until", async () => {
    const filters = JSON.stringify({ until: ["1h", "2h"], label: ["no-such-label"] });
    const answer = await engine.api("POST", `/images/prune?filters=${encodeURIComponent(filters)}`);
    expect(textAt(answer.json, "message")).toBe("more than one until filter specified");
  });
});

describe("an image whose time is none", () => {
  test("is not loaded, and the list is as it was", async () => {
    const answer = await load(`${stem}-never:1`, { created: "yesterday" });
    expect(answer.text).toMatch(/RFC 3339|cannot parse/);
    expect((await engine.api("GET", "/images/json")).status).toBe(200);
    expect((await engine.api("GET", "/system/df?type=image")).status).toBe(200);
  });
});

describe("platforms", () => {
  const name = `${stem}-platform:1`;
  const query = (architecture: string): string =>
    encodeURIComponent(JSON.stringify({ os: "linux", architecture }));

  test("what asks for another one than is there is refused, a removal too", async () => {
    await load(name);
    const wrong =
      `image with reference ${name} was found but its platform (linux/${native}) ` +
      `does not match the specified platform (linux/${other})`;
    for (const [method, path] of [
      ["GET", `/images/${name}/json?platform=${query(other)}`],
      ["GET", `/images/${name}/history?platform=${query(other)}`],
      ["DELETE", `/images/${name}?platforms=${query(other)}`],
    ] as const) {
      const answer = await engine.api(method, path);
      expect([path, answer.status, textAt(answer.json, "message")]).toEqual([path, 404, wrong]);
    }
    for (const path of [`json?platform=${query("")}`, `history?platform=${query("")}`]) {
      expect((await engine.api("GET", `/images/${name}/${path}`)).status).toBe(400);
    }
    const both = await engine.api(
      "GET",
      `/images/${name}/json?manifests=1&platform=${query(native)}`,
    );
    expect(textAt(both.json, "message")).toStartWith("conflicting options");
    expect(
      (await engine.api("GET", `/images/${name}/history?platform=${query(native)}`)).status,
    ).toBe(200);
    const gone = await engine.api("DELETE", `/images/${name}?platforms=${query(native)}`);
    expect(at(gone.json, 0)).toEqual({ Untagged: name });
  });
});

describe("a digest that an image does not go by", () => {
  test("removes no other name of it", async () => {
    const name = `${stem}-digest`;
    await load(`${name}:1`);
    await engine.api("POST", `/images/${name}:1/tag?repo=${name}&tag=2`);
    const id = textAt((await engine.api("GET", `/images/${name}:1/json`)).json, "Id");
    for (const asked of [`${name}@${id}`, `${name}:1@${id}`, `${name}@sha256:${sha256("x")}`]) {
      const answer = await engine.api("DELETE", `/images/${asked}`);
      expect([answer.status, textAt(answer.json, "message")]).toEqual([
        404,
        `No such image: ${asked}`,
      ]);
    }
    const { json } = await engine.api("GET", `/images/${name}:2/json`);
    expect(new Set(listAt(json, "RepoTags"))).toEqual(new Set([`${name}:1`, `${name}:2`]));
    for (const tag of ["1", "2"]) await remove(`${name}:${tag}`);
  });
});

describe("names that are none", () => {
  for (const client of clientNames) {
    test(`no image is called sha256 with ${client}`, async () => {
      const cli = engine.client(client);
      const name = `${stem}-${client}:1`;
      await load(name);
      for (const target of ["sha256", "sha256:abc"]) {
        expect(await cli.fails("tag", name, target)).toContain(
          "refusing to create an ambiguous tag using digest algorithm as name",
        );
      }
      await cli.ok("rmi", name);
    });
  }
});

ours("names of archives", () => {
  test("an archive cannot call its image sha256", async () => {
    const answer = await load("sha256:abc");
    expect(textAt(answer.json, "message")).toContain("ambiguous tag");
  });
});
