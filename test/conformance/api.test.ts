/** The same requests to Tug and to Docker: clients must not be able to tell which one answered. */
import { afterAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { at } from "../support/json.ts";
import { knownDifferences } from "./known-differences.ts";
import { type Difference, differences } from "./normalise.ts";
import { hasPeer, openPair, type Pair, type Side } from "./peer.ts";
import { attachScenarios } from "./scenarios/attach.ts";
import { commitScenarios } from "./scenarios/commit.ts";
import { containerScenarios } from "./scenarios/containers.ts";
import { createScenarios } from "./scenarios/create.ts";
import { eventScenarios } from "./scenarios/events.ts";
import { execScenarios } from "./scenarios/exec.ts";
import { imageScenarios } from "./scenarios/images.ts";
import { stateScenarios } from "./scenarios/states.ts";
import { systemScenarios } from "./scenarios/system.ts";
import { volumeScenarios } from "./scenarios/volumes.ts";
import { clearTalk, type Entry, image, openTalk, type Scenario } from "./talk.ts";

const scenarios: readonly Scenario[] = [
  ...systemScenarios,
  ...createScenarios,
  ...stateScenarios,
  ...containerScenarios,
  ...attachScenarios,
  ...execScenarios,
  ...imageScenarios,
  ...commitScenarios,
  ...volumeScenarios,
  ...eventScenarios,
];
const scenarioMaxMs = 300_000;
const pair: Pair | undefined = hasPeer ? await openPair() : undefined;
/** Where all differences are written as JSON, also the known ones; nowhere when absent. */
const dumpPath = process.env["TUG_CONFORMANCE_DUMP"];
const dumped: Difference[] = [];

afterAll(async () => {
  if (dumpPath !== undefined) writeFileSync(dumpPath, JSON.stringify(dumped, null, 1));
  if (dumpPath !== undefined && pair !== undefined) {
    writeFileSync(`${dumpPath}.log`, pair.daemon.log());
  }
  await pair?.[Symbol.asyncDispose]();
});

describe("answers as Docker's", () => {
  for (const scenario of scenarios) {
    test.skipIf(pair === undefined)(
      scenario.name,
      async () => {
        if (pair === undefined) return;
        const [peer, tug] = await Promise.all([
          record(pair.peer, scenario),
          record(pair.tug, scenario),
        ]);
        const found = compare({ peer, tug }).map((difference) => ({
          ...difference,
          where: `${scenario.name}: ${difference.where}`,
        }));
        dumped.push(...found);
        const unexplained = found.filter((difference) => !isKnown(difference));
        expect(unexplained.map(render)).toEqual([]);
      },
      scenarioMaxMs,
    );
  }
});

describe("archives of images", () => {
  for (const from of ["peer", "tug"] as const) {
    test.skipIf(pair === undefined)(
      `saved by ${from} are the same image to the other`,
      async () => {
        if (pair === undefined) return;
        const [source, target] = from === "peer" ? [pair.peer, pair.tug] : [pair.tug, pair.peer];
        const name = `cf-from-${from}:1`;
        await source.engine.api("POST", `/images/${image}/tag?repo=cf-from-${from}&tag=1`);
        const saved = await source.engine.api("GET", `/images/${name}/get`);
        const loaded = await target.engine.api("POST", "/images/load?quiet=1", saved.bytes, {
          headers: { "Content-Type": "application/x-tar" },
        });
        expect(loaded.text).toContain(`Loaded image: ${name}`);
        const [there, here] = await Promise.all(
          [source, target].map(
            async ({ engine }) => await engine.api("GET", `/images/${name}/json`),
          ),
        );
        for (const key of ["Id", "Config", "RootFS", "Created", "Architecture", "Os", "Comment"]) {
          expect(at(here?.json, key)).toEqual(at(there?.json, key));
        }
        const ran = await target.engine.api("POST", "/containers/create?name=cf-from", {
          Image: name,
          Cmd: ["true"],
        });
        expect(ran.status).toBe(201);
        await target.engine.api("POST", "/containers/cf-from/start");
        const ended = await target.engine.api("POST", "/containers/cf-from/wait");
        expect(ended.json).toEqual({ StatusCode: 0 });
        await target.engine.api("DELETE", "/containers/cf-from?force=1");
        for (const { engine } of [source, target]) await engine.api("DELETE", `/images/${name}`);
      },
    );
  }
});

async function record(side: Side, scenario: Scenario): Promise<readonly Entry[]> {
  await clearTalk(side.engine);
  const talk = openTalk(side.engine, side.normalise);
  try {
    await scenario.run(talk);
  } finally {
    await clearTalk(side.engine);
  }
  return talk.entries;
}

function compare(pairOfEntries: {
  readonly peer: readonly Entry[];
  readonly tug: readonly Entry[];
}): readonly Difference[] {
  const { peer, tug } = pairOfEntries;
  const labels = new Set([...peer, ...tug].map(({ label }) => label));
  const valueIn = (entries: readonly Entry[], label: string): unknown =>
    entries.find((entry) => entry.label === label)?.value;
  return [...labels].flatMap((label) =>
    differences(label, { peer: valueIn(peer, label), tug: valueIn(tug, label) }),
  );
}

function isKnown(difference: Difference): boolean {
  return knownDifferences.some(
    ({ where, peer, tug }) =>
      where.test(difference.where) &&
      (peer === undefined || peer.test(difference.peer)) &&
      (tug === undefined || tug.test(difference.tug)),
  );
}

function render({ where, peer, tug }: Difference): string {
  return `${where}\n  docker: ${peer}\n  tug:    ${tug}`;
}
