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
import { at, listAt } from "../support/json.ts";
import { tar } from "../support/tar.ts";
import { buildDifferences } from "./build-differences.ts";
import { hasBuildPeer, openBuildPeer, openOwn, startServers } from "./build-pair.ts";
import { type BuildClientName, buildCase, hasBuildx } from "./build-side.ts";
import { type BuildSummary, summariseImage } from "./build-summary.ts";
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

test("squashed, a build has one layer on its base, with the same files", async () => {
  const dockerfile =
    "FROM cfbase:1\nRUN rm -r /opt/old && echo gone > /gone\nCOPY f /opt/f\n" +
    "RUN rm /gone && rm /etc/group && mkdir /opt/old && echo n > /opt/old/n && ln /opt/f /opt/hard\n";
  const context = tar([
    { name: "Dockerfile", content: dockerfile },
    { name: "f", content: "f", mode: 0o640, uid: 5 },
  ]);
  const images: (ReturnType<typeof summariseImage> & { readonly base: readonly string[] })[] = [];
  for (const flag of ["", "&squash=1"]) {
    const built = await own.engine.api("POST", `/build?t=cf-squash${flag}`, context, {
      headers: { "Content-Type": "application/x-tar" },
    });
    expect(built.text).toContain("Successfully built");
    const saved = await own.engine.api("GET", "/images/cf-squash/get");
    const base = listAt(
      (await own.engine.api("GET", "/images/cfbase:1/json")).json,
      "RootFS",
      "Layers",
    );
    const baseLayers = base.map(String);
    images.push({
      ...summariseImage(saved.bytes, { baseLayers, baseHistory: 1 }),
      base: baseLayers,
    });
  }
  const [plain, squashed] = images;
  expect(plain?.layers).toHaveLength(3);
  expect(squashed?.layers).toHaveLength(1);
  const { gone: _, ...left } = plain?.merged ?? {};
  expect(withoutHints(squashed?.merged)).toEqual(withoutHints(left));
  expect(squashed?.merged?.["etc/group"]).toBe("removed");
  const hidden = ["opt/old/.wh..wh..opq", "opt/old/a"].map((path) => squashed?.merged?.[path]);
  expect(hidden.some((text) => text === "opaque" || text === "removed")).toBe(true);
  expect(squashed?.history?.filter((entry) => entry.includes("| layer |"))).toHaveLength(1);
});

/** Files and what is removed; whether a new folder says that it hides the old one is the layer's matter. */
function withoutHints(
  merged: Readonly<Record<string, string>> | undefined,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(merged ?? {}).filter(([, text]) => text !== "opaque" && text !== "removed"),
  );
}

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
