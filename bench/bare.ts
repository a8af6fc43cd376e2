/**
 * The same work without an engine, for the column `bare`: it tells how fast the machine is, and what no
 * engine can do without.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { rootTar } from "../test/support/images.ts";
import { runOk } from "../test/support/process.ts";
import { timed } from "./case.ts";
import { startStubEngine, type StubEngine } from "./stub-engine.ts";

/** A bundle, and the OCI runtime that runs it. */
interface Bundle {
  readonly folder: string;
  readonly crun: (...args: readonly string[]) => Promise<unknown>;
}

const execName = "tugbench-exec";
let opened: Promise<Bundle> | undefined;
let stub: Promise<StubEngine> | undefined;
let empty: Promise<string> | undefined;
let count = 0;
let isExecRunning = false;

/** Runs `true` in a container of crun's own default. */
export async function crunRun(): Promise<number> {
  const { folder, crun } = await bundle();
  count += 1;
  const name = `tugbench-${process.pid}-${count}`;
  return await timed(async () => await crun("run", "--bundle", folder, name));
}

/** Runs `true` beside what runs in a container. */
export async function crunExec(): Promise<number> {
  const { folder, crun } = await bundle();
  if (!isExecRunning) {
    const path = join(folder, "config.json");
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.replace('"true"', '"sleep","600"'));
    // What stays would hold the pipes.
    const command = `crun --root ${folder}/state run --detach --bundle ${folder} ${execName}`;
    await runOk(["sh", "-c", `${command} </dev/null >/dev/null 2>&1`]);
    writeFileSync(path, text);
    isExecRunning = true;
  }
  return await timed(async () => await crun("exec", execName, "true"));
}

/** Calls the docker CLI on an engine that does nothing. */
export async function dockerCli(...args: readonly string[]): Promise<number> {
  stub ??= startStubEngine();
  const { host } = await stub;
  return await timed(async () => await runOk(["docker", "--host", host, ...args]));
}

/** Runs an executable of our runtime that has nothing to do. */
export async function emptyExecutable(): Promise<number> {
  empty ??= makeEmpty();
  const path = await empty;
  return await timed(async () => await runOk([path]));
}

/** Passes bytes through a pipe. */
export async function pipeBytes(sizeBytes: number): Promise<number> {
  return await shell(`head -c ${sizeBytes} /dev/zero | cat >/dev/null`);
}

/** Writes bytes from a pipe into a file. */
export async function writeBytes(sizeBytes: number): Promise<number> {
  const { folder } = await bundle();
  const path = join(folder, "written");
  const elapsedMs = await shell(`head -c ${sizeBytes} /dev/zero | cat >${path}`);
  rmSync(path);
  return elapsedMs;
}

/** Removes what was made. */
export async function closeBare(): Promise<void> {
  (await stub)?.[Symbol.dispose]();
  if (empty !== undefined) rmSync(dirname(await empty), { recursive: true, force: true });
  if (opened === undefined) return;
  const { folder, crun } = await opened;
  if (isExecRunning) await crun("delete", "--force", execName);
  rmSync(folder, { recursive: true, force: true });
}

async function makeEmpty(): Promise<string> {
  const folder = mkdtempSync("/tmp/tugbench-empty-");
  const source = join(folder, "empty.ts");
  writeFileSync(source, "");
  const outfile = join(folder, "empty");
  await Bun.build({ entrypoints: [source], bytecode: true, format: "esm", compile: { outfile } });
  return outfile;
}

async function shell(script: string): Promise<number> {
  return await timed(async () => await runOk(["sh", "-c", script]));
}

async function bundle(): Promise<Bundle> {
  opened ??= makeBundle();
  return await opened;
}

async function makeBundle(): Promise<Bundle> {
  const folder = mkdtempSync("/tmp/tugbench-bundle-");
  const rootfs = join(folder, "rootfs");
  mkdirSync(rootfs);
  await runOk(["tar", "-xf", "-", "-C", rootfs], { input: rootTar() });
  await runOk(["crun", "spec"], { cwd: folder });
  const path = join(folder, "config.json");
  const spec = JSON.parse(readFileSync(path, "utf8")) as { process: object };
  const process_ = { ...spec.process, terminal: false, args: ["true"] };
  writeFileSync(path, JSON.stringify({ ...spec, process: process_ }));
  const root = join(folder, "state");
  return { folder, crun: async (...args) => await runOk(["crun", "--root", root, ...args]) };
}
