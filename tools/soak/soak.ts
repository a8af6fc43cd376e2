/**
 * Soaks a daemon of its own: does for a long time all that users do, and tells after every round, when
 * all is removed again, what has grown: memory, descriptors, processes, mounts, files, records.
 *
 *   bun tools/soak/soak.ts [--rounds 10] [--cycles 120] [--workers 3] [--seed 1] [--only run,execs]
 */
import { parseArgs } from "node:util";
import { clientNames } from "../../test/support/clients.ts";
import { startDaemon, type TestDaemon } from "../../test/support/daemon.ts";
import { startDockerRegistry } from "../../test/support/docker-registry.ts";
import { linkPlugins } from "../../test/support/builders.ts";
import { runOk } from "../../test/support/process.ts";
import { type Bench, cycles, password, putImage } from "./cycles.ts";
import { type Reading, readGauges } from "./gauge.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "10" },
    cycles: { type: "string", default: "120" },
    workers: { type: "string", default: "3" },
    seed: { type: "string", default: "1" },
    only: { type: "string", default: Object.keys(cycles).join(",") },
  },
});
/** After this a daemon is at rest: helpers have gone, and memory is given back. */
const restMs = 16_000;
const linesMax = 200;

await main();

async function main(): Promise<void> {
  await using registry = await startDockerRegistry({ htpasswd: { username: "soak", password } });
  await using daemon = await startDaemon();
  // As on most machines: what a reboot may take is no disk's.
  await daemon.stop();
  await runOk(["mount", "-t", "tmpfs", "tmpfs", daemon.execRoot]);
  await daemon.restart();
  linkPlugins(daemon.engine);
  const bench = openBench(daemon, registry.host);
  for (const { run } of bench.clients) {
    await run(["login", "-u", "soak", "--password-stdin", registry.host], { input: password });
  }
  const readings: Reading[] = [];
  for (let round = 0; round <= Number(values.rounds); round += 1) {
    await putImage(bench);
    await Promise.all(Array.from({ length: Number(values.workers) }, () => work(bench)));
    await clear(bench);
    readings.push(await readGauges(daemon));
    tell(readings);
  }
  tellLog(daemon.log());
}

function openBench(daemon: TestDaemon, registry: string): Bench {
  let state = Number(values.seed);
  let nameCount = 0;
  return {
    daemon,
    registry,
    clients: clientNames.map((name) => daemon.engine.client(name)),
    random(end) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * end);
    },
    name() {
      nameCount += 1;
      return `soak-${nameCount}`;
    },
    surprise: (what) => console.log(`SURPRISE ${what.slice(0, 1000)}`),
  };
}

/** One worker's part of a round. */
async function work(bench: Bench): Promise<void> {
  const names = values.only.split(",");
  for (let count = 0; count < Number(values.cycles) / Number(values.workers); count += 1) {
    const name = names[bench.random(names.length)] ?? "run";
    try {
      await cycles[name]?.(bench);
    } catch (error) {
      bench.surprise(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

/** Removes all that may be removed, and waits for rest. */
async function clear({ clients, surprise }: Bench): Promise<void> {
  const [client] = clients;
  if (client === undefined) return;
  // One that was only created is what a client leaves that was killed before its start.
  if ((await client.ok("ps", "-q")) !== "") surprise(`left: ${await client.ok("ps")}`);
  const ids = await client.ok("ps", "-aq");
  if (ids !== "") await client.run(["rm", "-fv", ...ids.split("\n")]);
  await client.ok("system", "prune", "-af", "--volumes");
  await client.ok("volume", "prune", "-af");
  await client.run(["builder", "prune", "-af"]);
  await Bun.sleep(restMs);
}

/** What is not as it was after the first round, and what it was in each. */
function tell(readings: readonly Reading[]): void {
  const [, ...rest] = readings;
  const names = new Set(rest.flatMap((each) => Object.keys(each)));
  console.log(`\n== round ${readings.length - 1}, ${new Date().toISOString()}`);
  for (const name of names) {
    const row = rest.map((each) => each[name] ?? 0);
    if (row.length === 1 || new Set(row).size > 1)
      console.log(`${name.padEnd(36)} ${row.join(" ")}`);
  }
}

/** How often the log says what is more than information. */
function tellLog(log: string): void {
  const counts = new Map<string, number>();
  for (const line of log.split("\n")) {
    const kind = /level=(?:warn|error|fatal).*/
      .exec(line)?.[0]
      .replaceAll(/[\da-f]{12,}|\d+/g, "N");
    if (kind !== undefined) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const sorted = [...counts].toSorted(([, a], [, b]) => b - a).slice(0, linesMax);
  console.log(`\n== log: ${log.split("\n").length} lines`);
  for (const [line, count] of sorted) console.log(`${count} ${line}`);
  if (log.includes(password)) console.log("SURPRISE the log tells a password");
}
