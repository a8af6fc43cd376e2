/**
 * The corpus of builds: what Tug makes of each is what Docker's BuildKit made of it.
 *
 * What BuildKit made is kept in fixtures/build/golden.json. With `TUG_PEER_DOCKER=unix:///…` of a
 * Docker Engine 28 and `TUG_PEER_CONFIG=/folder` that has cli-plugins/docker-buildx, builds go through
 * buildx, too, and are compared with what that Docker makes of them now.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { BuildCase } from "../fixtures/build/case.ts";
import { corpus } from "../fixtures/build/corpus.ts";
import { at } from "../support/json.ts";
import { buildDifferences } from "./build-differences.ts";
import { hasBuildPeer, openBuildPeer, openOwn, startServers } from "./build-pair.ts";
import { type BuildClientName, buildCase, hasBuildx } from "./build-side.ts";
import type { BuildSummary } from "./build-summary.ts";
import { type Difference, differences } from "./normalise.ts";

const caseMaxMs = 120_000;
const golden: unknown = JSON.parse(
  readFileSync(join(import.meta.dir, "../fixtures/build/golden.json"), "utf8"),
);
const servers = await startServers();
const own = await openOwn();
const hasDocker = Bun.which("docker") !== null;
const isCompared = hasBuildPeer && hasBuildx && hasDocker;
const peer = isCompared ? await openBuildPeer(servers.places) : undefined;
if (!isCompared) {
  console.warn(
    "skipped: builds beside Docker's BuildKit. They need the docker CLI, TUG_PEER_DOCKER=unix:///… " +
      "and TUG_PEER_CONFIG=/folder with cli-plugins/docker-buildx; only images named cf* are made there.",
  );
}
const clients: readonly BuildClientName[] = [
  ...(hasDocker ? (["classic"] as const) : []),
  ...(hasDocker && hasBuildx ? (["buildx"] as const) : []),
  "tug",
];

afterAll(async () => {
  await peer?.[Symbol.asyncDispose]();
  await own[Symbol.asyncDispose]();
  await servers[Symbol.asyncDispose]();
});

test("the corpus names each build once", () => {
  const names = corpus.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(names.length).toBeGreaterThan(60);
});

for (const client of clients) {
  describe(`builds with ${client}, as BuildKit's`, () => {
    for (const each of corpus) {
      const isAble = !(each.isBuildkitOnly === true && client === "classic") && canMake(each);
      test.skipIf(!isAble)(
        each.name,
        async () => {
          const [ours, theirs] = await Promise.all([
            buildCase({ engine: own.engine, client }, each, servers.places),
            peer === undefined || client !== "buildx"
              ? golden
              : buildCase({ engine: peer.engine, client }, each, peer.places),
          ]);
          const wanted = theirs === golden ? at(golden, each.name) : theirs;
          expect(compare(each, { client, ours, wanted })).toEqual([]);
        },
        caseMaxMs,
      );
    }
  });
}

function canMake(each: BuildCase): boolean {
  return (each.needs ?? []).every((need) =>
    need === "amd64" ? process.arch === "x64" : Bun.which(need) !== null,
  );
}

function compare(
  each: BuildCase,
  sides: {
    readonly client: BuildClientName;
    readonly ours: BuildSummary;
    readonly wanted: unknown;
  },
): readonly string[] {
  return differences(each.name, { peer: sides.wanted, tug: sides.ours })
    .filter((difference) => !isKnown(difference, sides.client))
    .map(({ where, peer, tug }) => `${where}\n  docker: ${peer}\n  tug:    ${tug}`);
}

function isKnown(difference: Difference, client: BuildClientName): boolean {
  return buildDifferences.some(
    ({ where, clients: only, peer, tug }) =>
      where.test(difference.where) &&
      (only === undefined || only.includes(client)) &&
      (peer === undefined || peer.test(difference.peer)) &&
      (tug === undefined || tug.test(difference.tug)),
  );
}
