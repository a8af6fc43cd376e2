/** Images between Docker and Tug: through our registry and by archives, in both directions. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { type Engine, imageId } from "../support/engine.ts";
import { at, listAt } from "../support/json.ts";
import { startTugRegistry } from "../support/tug-registry.ts";
import { hasPeer, openPair } from "./peer.ts";
import { comparisonLabel, image } from "./talk.ts";

/** Docker's network namespace: its loopback is another than ours. */
const netns = process.env["TUG_PEER_NETNS"] ?? "/run/netns/peer";
const pair = hasPeer ? await openPair() : undefined;
const root = mkdtempSync("/tmp/cf-registry-");
const testMaxMs = 120_000;

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]();
  rmSync(root, { recursive: true });
});

type Send = (engine: Engine, host: string) => Promise<void>;

/** Serves the one registry where an engine can reach it, for as long as it is used. */
async function atRegistry(side: "docker" | "tug", use: Send): Promise<void> {
  const where = side === "docker" ? { root, netns } : { root };
  await using registry = await startTugRegistry(where);
  const engine = side === "docker" ? pair?.peer.engine : pair?.tug.engine;
  if (engine !== undefined) await use(engine, registry.host);
  await registry.stop();
}

async function ok(engine: Engine, path: string, body?: Uint8Array): Promise<string> {
  const type = body === undefined ? {} : { "Content-Type": "application/x-tar" };
  const headers = { ...type, "X-Registry-Auth": "e30=" };
  const answer = await engine.api("POST", path, body, { headers });
  expect(answer.status).toBeLessThan(300);
  expect(answer.text).not.toContain("errorDetail");
  return answer.text;
}

/** Makes an image of two layers over the common one. */
async function makeImage(engine: Engine, name: string): Promise<void> {
  let from = image;
  for (const step of ["one", "two"]) {
    const script = `echo ${step} >/${step}; mkdir -p /d && ln -f /${step} /d/${step}; rm -f /bin/vi`;
    const created = await engine.api("POST", "/containers/create", {
      Image: from,
      Cmd: ["sh", "-c", script],
      Labels: { [comparisonLabel]: "1" },
    });
    const id = String(at(created.json, "Id"));
    await ok(engine, `/containers/${id}/start`);
    await engine.api("POST", `/containers/${id}/wait`);
    await ok(engine, `/commit?container=${id}&repo=${name}&tag=${step}`);
    await engine.api("DELETE", `/containers/${id}?force=1`);
    from = `${name}:${step}`;
  }
}

const show = "cat /one /two /d/one; ls -l /d | wc -l; test -e /bin/vi || echo gone";

async function run(engine: Engine, name: string): Promise<string> {
  const created = await engine.api("POST", "/containers/create", {
    Image: name,
    Cmd: ["sh", "-c", show],
    HostConfig: { NetworkMode: "none" },
    Labels: { [comparisonLabel]: "1" },
  });
  const id = String(at(created.json, "Id"));
  await ok(engine, `/containers/${id}/start`);
  await engine.api("POST", `/containers/${id}/wait`);
  const logs = await engine.api("GET", `/containers/${id}/logs?stdout=1`);
  await engine.api("DELETE", `/containers/${id}?force=1`);
  return logs.text;
}

async function remove(engine: Engine | undefined, repository: string): Promise<void> {
  const list = await engine?.api("GET", "/images/json");
  for (const item of listAt(list?.json ?? [])) {
    const tags = at(item, "RepoTags");
    for (const tag of Array.isArray(tags) ? tags.map(String) : []) {
      if (tag.startsWith(`${repository}:`)) await engine?.api("DELETE", `/images/${tag}?force=1`);
    }
  }
}

describe.skipIf(pair === undefined)("between Docker and Tug", () => {
  const sides = [
    ["docker", "tug"],
    ["tug", "docker"],
  ] as const;
  for (const [from, to] of sides) {
    test(
      `what ${from} pushes, ${to} pulls as the same image, runs and pushes back`,
      async () => {
        const path = `cf-${from}/app`;
        const local = `cf-${from}-app`;
        let id = "";
        let digest = "";
        let shown = "";
        await atRegistry(from, async (engine, host) => {
          await makeImage(engine, local);
          await ok(engine, `/images/${local}:two/tag?repo=${host}/${path}&tag=1`);
          digest =
            /digest: (sha256:[0-9a-f]{64})/.exec(
              await ok(engine, `/images/${host}/${path}/push?tag=1`),
            )?.[1] ?? "";
          id = await imageId(engine, `${local}:two`);
          shown = await run(engine, `${local}:two`);
          await remove(engine, `${host}/${path}`);
          await remove(engine, local);
        });
        expect(shown).toContain("gone");
        await atRegistry(to, async (engine, host) => {
          const said = await ok(engine, `/images/create?fromImage=${host}/${path}&tag=1`);
          expect(said).toContain(`Digest: ${digest}`);
          expect(await imageId(engine, `${host}/${path}:1`)).toBe(id);
          expect(await run(engine, `${host}/${path}:1`)).toBe(shown);
          const again = await ok(engine, `/images/${host}/${path}/push?tag=1`);
          // Docker makes another manifest of what it pulled.
          expect(again).toContain(to === "tug" ? digest : "Layer already exists");
          await remove(engine, `${host}/${path}`);
        });
      },
      testMaxMs,
    );

    test(
      `what ${from} saves, ${to} loads, runs and has as the same image`,
      async () => {
        const local = `cf-${from}-saved`;
        const [source, target] =
          from === "docker"
            ? [pair?.peer.engine, pair?.tug.engine]
            : [pair?.tug.engine, pair?.peer.engine];
        if (source === undefined || target === undefined) return;
        await makeImage(source, local);
        const names = [`${local}:one`, `${local}:two`];
        const query = names.map((name) => `names=${name}`).join("&");
        const saved = await source.api("GET", `/images/get?${query}`);
        expect(saved.status).toBe(200);
        const said = await ok(target, "/images/load", saved.bytes);
        for (const name of names) expect(said).toContain(`Loaded image: ${name}`);
        for (const name of names)
          expect(await imageId(target, name)).toBe(await imageId(source, name));
        expect(await run(target, `${local}:two`)).toBe(await run(source, `${local}:two`));
        for (const engine of [source, target]) await remove(engine, local);
      },
      testMaxMs,
    );
  }
});
