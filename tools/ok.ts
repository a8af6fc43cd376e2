/**
 * The one gate: format, types, lint, layers, dead code, tests. Stops at the first step that fails.
 *
 * A tool that passes without having looked is worse than none, so each is first run on
 * tools/canary/faults.ts, where it must find what is wrong.
 */
interface Step {
  readonly name: string;
  readonly argv: readonly string[];
  /** A run that must fail, and what it must say. */
  readonly canary?: { readonly argv: readonly string[]; readonly says: RegExp };
}

const bin = "node_modules/.bin";
const canary = "tools/canary/faults.ts";

const checks: readonly Step[] = [
  { name: "format", argv: [`${bin}/biome`, "format", "."] },
  {
    name: "types",
    argv: [`${bin}/tsc`, "-p", "."],
    canary: { argv: [`${bin}/tsc`, "-p", "tools/canary"], says: /TS2322/ },
  },
  { name: "lint", argv: [`${bin}/biome`, "lint", "--error-on-warnings", "."] },
  {
    name: "lint, type-aware",
    argv: [
      `${bin}/oxlint`,
      "--type-aware",
      "--deny-warnings",
      "--ignore-pattern",
      "tools/canary",
      "src",
      "tools",
      "test",
      "bench",
    ],
    canary: {
      argv: [`${bin}/oxlint`, "--type-aware", canary],
      says: /no-floating-promises[\s\S]*switch-exhaustiveness|switch-exhaustiveness[\s\S]*no-floating/,
    },
  },
  { name: "layers", argv: [`${bin}/bun`, "tools/layers.ts"] },
  { name: "house rules", argv: [`${bin}/bun`, "tools/tidy.ts"] },
  { name: "dead code", argv: [`${bin}/knip`] },
];

const suites: readonly { readonly paths: readonly string[]; readonly flags: readonly string[] }[] =
  [
    { paths: ["src", "tools"], flags: [] },
    // Real processes on a busy machine: what failed once gets one more try, and both are printed.
    { paths: ["test"], flags: ["--retry=1"] },
  ];

let failed = 0;
for (const step of checks) {
  const startMs = performance.now();
  if (step.canary !== undefined) {
    const found = run(step.canary.argv);
    if (found.exitCode === 0 || !step.canary.says.test(found.output)) {
      fail(`${step.name}: the tool did not find the faults of ${canary}`, found.output);
    }
  }
  const result = run(step.argv);
  if (result.exitCode !== 0) fail(step.name, result.output);
  console.log(`ok  ${step.name}  ${Math.round(performance.now() - startMs)} ms`);
}

const counts = { pass: 0, fail: 0, skip: 0 };
for (const { paths, flags } of suites) {
  const argv = [
    `${bin}/bun`,
    "test",
    "--timeout",
    "60000",
    ...flags,
    ...paths.map((path) => `./${path}/`),
  ];
  const child = Bun.spawn(argv, { stdout: "inherit", stderr: "pipe" });
  const text = await tee(child.stderr);
  const exitCode = await child.exited;
  for (const key of ["pass", "fail", "skip"] as const) {
    counts[key] += Number(new RegExp(`^\\s*(\\d+) ${key}$`, "m").exec(text)?.[1] ?? 0);
  }
  if (exitCode !== 0) failed = 1;
}
if (counts.pass === 0) fail("tests", "no test was run");
console.log(`${counts.pass} passed, ${counts.fail} failed, ${counts.skip} skipped`);
process.exit(failed);

/** Runs a command and keeps what it prints. */
function run(argv: readonly string[]): { readonly exitCode: number; readonly output: string } {
  const done = Bun.spawnSync([...argv], { stdout: "pipe", stderr: "pipe" });
  return { exitCode: done.exitCode, output: `${done.stdout}${done.stderr}` };
}

function fail(name: string, output: string): never {
  console.error(output);
  console.error(`not ok  ${name}`);
  process.exit(1);
}

async function tee(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    process.stderr.write(chunk);
    text += decoder.decode(chunk, { stream: true });
  }
  return text;
}
