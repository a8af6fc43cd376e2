/**
 * `npm run bench`: ours beside Docker and Podman, in one run that takes turns, so that what else the
 * machine does falls on all alike.
 *
 *   --docker HOST, --podman HOST   peers (or TUG_BENCH_DOCKER, TUG_BENCH_PODMAN)
 *   --only NAME                    cases whose name contains NAME; several may be given
 *   --rounds N                     instead of each case's own number
 *   --json FILE                    the figures as JSON too
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { Case } from "./case.ts";
import { cases, hasDockerCli } from "./cases.ts";
import { closeBuildCases, skippedBuilds } from "./build-cases.ts";
import { closeBare } from "./bare.ts";
import { canMeasureInMemory, closeImageCases } from "./image-cases.ts";
import { hasRegistries } from "./image-registries.ts";
import { settle, settleData } from "./settle.ts";
import { type Contestant, openOurs, openPeer, prepareImage } from "./engines.ts";

/** The figures of one case on one engine. */
interface Figures {
  readonly median: number;
  readonly p95: number;
  readonly samples: readonly number[];
}

/** An engine, or none: see `Case.bare`. */
type Column = Contestant["name"] | "bare";

/** A case with what was measured, by engine. */
interface Row {
  readonly case: Case;
  readonly figures: ReadonlyMap<Column, Figures>;
  readonly faults: readonly string[];
}

const dockerCliCases = /^(run|exec|ps)/;
const percentile = 0.95;
/** So long after its first round of a case an engine begins no further one. */
const lengthMaxMs = 30_000;

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      docker: { type: "string" },
      podman: { type: "string" },
      only: { type: "string", multiple: true },
      rounds: { type: "string" },
      json: { type: "string" },
    },
  });
  const only = values.only ?? [];
  const hasDocker = await hasDockerCli();
  const chosen = cases
    .filter(({ name }) => only.length === 0 || only.some((word) => name.includes(word)))
    .filter(({ name }) => hasDocker || !dockerCliCases.test(name));
  if (!hasDocker) console.log("skipped: cases that need the docker CLI, which is not on the path");
  if (!hasRegistries) {
    console.log("skipped: pull, push and save, which need docker-registry and skopeo");
  }
  if (!canMeasureInMemory) console.log("skipped: a pull with the disk aside: /dev/shm has no room");
  for (const what of skippedBuilds()) console.log(`skipped: ${what}`);
  const contestants = await openAll({
    docker: values.docker ?? process.env["TUG_BENCH_DOCKER"],
    podman: values.podman ?? process.env["TUG_BENCH_PODMAN"],
  });
  try {
    const rows: Row[] = [];
    for (const each of chosen) {
      process.stderr.write(`${each.name} …\n`);
      const row = await measure(each, contestants, Number(values.rounds ?? each.rounds));
      rows.push(row);
      process.stderr.write(`${formatTable([row], contestants).split("\n").slice(2).join("\n")}\n`);
    }
    console.log(formatTable(rows, contestants));
    if (values.json !== undefined) writeFileSync(values.json, `${formatJson(rows)}\n`);
    return rows.every((row) => verdict(row) !== "over") ? 0 : 1;
  } finally {
    await closeBuildCases(contestants);
    await closeImageCases(contestants);
    await closeBare();
    for (const contestant of contestants) await contestant[Symbol.asyncDispose]();
  }
}

async function openAll(hosts: {
  readonly docker: string | undefined;
  readonly podman: string | undefined;
}): Promise<readonly Contestant[]> {
  const found: Contestant[] = [await openOurs()];
  for (const [name, host] of [
    ["Docker", hosts.docker],
    ["Podman", hosts.podman],
  ] as const) {
    const peer = host === undefined ? undefined : openPeer(name, host);
    if (peer !== undefined) found.push(peer);
    else console.log(`skipped: ${name}, ${host === undefined ? "no socket was named" : host}`);
  }
  for (const contestant of found) await prepareImage(contestant);
  return found;
}

/**
 * Takes turns: every engine once, then every engine again. Where much data is moved one comes after the other:
 * each would find that the ones between had taken the memory of what it goes on with.
 */
async function measure(
  each: Case,
  contestants: readonly Contestant[],
  rounds: number,
): Promise<Row> {
  const samples = new Map<Column, number[]>();
  const faults: string[] = [];
  const { isLarge = false } = each;
  const rest = isLarge ? settleData : settle;
  const columns = columnsOf(each, contestants);
  const repeated = <T>(list: readonly T[]): T[] =>
    Array.from({ length: rounds }, () => list).flat();
  const turns = isLarge ? columns.flatMap((column) => repeated([column])) : repeated(columns);
  await each.prepare?.(rounds);
  const endsMs = new Map<Column, number>();
  for (const { name, work } of turns) {
    if (performance.now() > (endsMs.get(name) ?? Number.POSITIVE_INFINITY)) continue;
    if (faults.some((fault) => fault.startsWith(name))) continue;
    if (!endsMs.has(name)) endsMs.set(name, performance.now() + lengthMaxMs);
    await rest();
    try {
      const figure = await work();
      samples.set(name, [...(samples.get(name) ?? []), figure]);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      faults.push(`${name}, ${each.name}: ${text.replaceAll("\n", " ").slice(0, 300)}`);
    }
  }
  return {
    case: each,
    faults,
    figures: new Map([...samples].map(([name, list]) => [name, summarise(list)])),
  };
}

function columnsOf(
  each: Case,
  contestants: readonly Contestant[],
): readonly { readonly name: Column; readonly work: () => Promise<number> }[] {
  const { bare } = each;
  const asked = contestants.filter(({ name }) => each.isOursOnly !== true || name === "ours");
  return [
    ...(bare === undefined ? [] : [{ name: "bare" as const, work: bare }]),
    ...asked.map((one) => ({
      name: one.name,
      work: async () => await each.measure(one),
    })),
  ];
}

function summarise(samples: readonly number[]): Figures {
  const sorted = samples.toSorted((left, right) => left - right);
  const rank = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
  const middle = Math.floor(sorted.length / 2);
  const isEven = sorted.length % 2 === 0;
  const median = isEven ? ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2 : rank(0.5);
  return { median, p95: rank(percentile), samples };
}

/** "ok" within the budget and the share of Docker's time, "over" when not. */
function verdict(row: Row): "ok" | "over" {
  const ours = row.figures.get("ours")?.median ?? Number.POSITIVE_INFINITY;
  const docker = row.figures.get("Docker")?.median;
  const { budget = Number.POSITIVE_INFINITY, timesDocker, timesBare } = row.case;
  const bare = row.figures.get("bare")?.median;
  if (ours > budget) return "over";
  if (bare !== undefined && timesBare !== undefined && ours > bare * timesBare) return "over";
  if (docker === undefined || timesDocker === undefined) return "ok";
  return ours <= docker / timesDocker ? "ok" : "over";
}

function formatTable(rows: readonly Row[], contestants: readonly Contestant[]): string {
  const peers = contestants.slice(1).map(({ name }) => name);
  const names: readonly Column[] = [...contestants.map(({ name }) => name), "bare"];
  const head = ["", ...names, "wanted", "", "× bare", ...peers.map((name) => `times ${name}`)];
  const lines = rows.map((row) => {
    const ours = row.figures.get("ours")?.median;
    return [
      row.case.name,
      ...names.map((name) => formatFigures(row.figures.get(name), row.case.unit)),
      formatWanted(row.case),
      verdict(row),
      formatRatio(ours, row.figures.get("bare")?.median),
      ...peers.map((name) => {
        return formatRatio(row.figures.get(name)?.median, ours);
      }),
    ];
  });
  const table = [head, ...lines];
  const widths = head.map((_, column) =>
    Math.max(...table.map((cells) => cells[column]?.length ?? 0)),
  );
  const text = table
    .map((cells) => cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "))
    .join("\n");
  const faults = rows.flatMap((row) => row.faults.map((fault) => `fault: ${fault}`));
  return ["median (95th percentile), lower is better", text, ...faults].join("\n");
}

function formatRatio(over: number | undefined, under: number | undefined): string {
  return over === undefined || under === undefined ? "" : `${(over / under).toFixed(1)}×`;
}

function formatWanted({ budget, unit, timesDocker, timesBare }: Case): string {
  const parts = [
    budget === undefined ? "" : `≤ ${budget} ${unit}`,
    timesDocker === undefined ? "" : `≤ ${+(1 / timesDocker).toFixed(2)}× Docker`,
    timesBare === undefined ? "" : `≤ ${timesBare}× bare`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}

function formatFigures(figures: Figures | undefined, unit: string): string {
  if (figures === undefined) return "-";
  const digits = (value: number): string => value.toFixed(value < 100 ? 1 : 0);
  const spread = figures.samples.length > 1 ? ` (${digits(figures.p95)})` : "";
  return `${digits(figures.median)}${spread} ${unit}`;
}

function formatJson(rows: readonly Row[]): string {
  const list = rows.map((row) => ({
    name: row.case.name,
    unit: row.case.unit,
    wanted: formatWanted(row.case),
    verdict: verdict(row),
    figures: Object.fromEntries(row.figures),
    faults: row.faults,
  }));
  return JSON.stringify(list, null, 2);
}
