/**
 * `bin/tug demo`: a container, from nothing to a page in a browser. Uses the daemon that runs, or
 * starts one; a second demo replaces the container of the first and touches nothing else.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

const tug = join(import.meta.dir, "../dist/tug");
const image = "tug-demo";
const container = "tug-demo-web";
const wantedPort = 8080;
const pageMaxMs = 10_000;
const daemonMaxMs = 15_000;
const socketPath = "/run/tug.sock";
/** Only these need be there: all else is in them. */
const applets = ["sh", "httpd", "ls", "ps", "cat", "echo", "hostname", "wget", "sleep", "env"];

await main();

async function main(): Promise<void> {
  const startMs = performance.now();
  await ensureDaemon();
  step(`making an image of /bin/busybox: ${image}`);
  await makeImage();
  const port = await choosePort();
  step(`running a web server in a container, with port ${port} of this machine`);
  await run(["rm", "-f", container]);
  const page = ["-p", `${port}:80`, image];
  await must(["run", "-d", "--name", container, "--label", "tug.demo=1", ...page]);
  step(`fetching http://localhost:${port}/`);
  show(await fetchPage(`http://localhost:${port}/`));
  show(await must(["logs", container]), `tug logs ${container}`);
  show(await must(["ps", "--filter", `name=^/${container}$`]), `tug ps`);
  step(`done in ${((performance.now() - startMs) / 1000).toFixed(1)} s. What to try next:`);
  show(
    [
      `bin/tug exec -it ${container} sh        look around inside`,
      `bin/tug run --rm ${image} echo hello    run something else in the same image`,
      `bin/tug logs -f ${container}            follow what it writes`,
      `bin/tug stop ${container}               stop it; "start" runs it again`,
      `bin/tug rm -f ${container}              remove it; bin/tug rmi ${image} removes its image`,
      `DOCKER_HOST=unix://${socketPath} docker ps   any Docker client works too`,
    ].join("\n"),
  );
}

/** Starts the daemon when none answers; it stays when the demo has ended. */
async function ensureDaemon(): Promise<void> {
  const first = await run(["version", "--format", "{{.Server.Version}}"]);
  if (first.exitCode === 0) return step(`Tug ${first.stdout.trim()} is ready`);
  step("starting the daemon");
  const log = Bun.file("/var/log/tug.log");
  const child = Bun.spawn(["setsid", tug, "daemon"], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: log,
  });
  child.unref();
  const end = performance.now() + daemonMaxMs;
  while (performance.now() < end && child.exitCode === null) {
    const answer = await run(["version", "--format", "{{.Server.Version}}"]);
    if (answer.exitCode === 0) return step(`Tug ${answer.stdout.trim()} is ready`);
    await Bun.sleep(100);
  }
  fail(`the daemon did not start:\n${await log.text()}`);
}

/** Packs busybox with its names and a page, and imports it. */
async function makeImage(): Promise<void> {
  const root = mkdtempSync("/tmp/tug-demo-");
  try {
    for (const folder of ["bin", "etc", "tmp", "www"]) mkdirSync(join(root, folder));
    await Bun.write(join(root, "bin/busybox"), Bun.file("/bin/busybox"));
    for (const applet of applets) {
      Bun.spawnSync(["ln", "-s", "busybox", join(root, "bin", applet)]);
    }
    Bun.spawnSync(["chmod", "755", join(root, "bin/busybox")]);
    writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/:/bin/sh\n");
    writeFileSync(join(root, "etc/group"), "root:x:0:\n");
    writeFileSync(join(root, "www/index.html"), "Hello from a container of Tug.\n");
    const archive = Bun.spawn(["tar", "-C", root, "-c", "."], { stdout: "pipe" });
    const changes = [
      'CMD ["httpd","-f","-v","-p","80","-h","/www"]',
      "EXPOSE 80",
      "STOPSIGNAL SIGKILL",
    ].flatMap((change) => ["--change", change]);
    const done = await run(["import", ...changes, "-", image], archive.stdout);
    if (done.exitCode !== 0) fail(`the image could not be imported:\n${done.stderr}`);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** The wanted port when it is free or has been the demo's before, else one that is free. */
async function choosePort(): Promise<number> {
  const before = await run(["port", container, "80/tcp"]);
  const known = /:(\d+)$/m.exec(before.stdout)?.[1];
  if (known !== undefined) return Number(known);
  return (await freePort(wantedPort)) ?? (await freePort(0)) ?? fail("no port is free");
}

/** A port that can be listened on; undefined when the wanted one is taken. */
async function freePort(wanted: number): Promise<number | undefined> {
  const server = createServer();
  const outcome = Promise.withResolvers<number | undefined>();
  server.once("error", () => outcome.resolve(undefined));
  server.listen(wanted, "0.0.0.0", () => {
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : undefined;
    server.close(() => outcome.resolve(port));
  });
  return await outcome.promise;
}

/** Reads the page; the server may need a moment. */
async function fetchPage(url: string): Promise<string> {
  const end = performance.now() + pageMaxMs;
  let last = "";
  while (performance.now() < end) {
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) });
      if (answer.ok) return await answer.text();
      last = `status ${answer.status}`;
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      last = error.message;
    }
    await Bun.sleep(50);
  }
  const logs = await run(["logs", container]);
  return fail(
    `${url} did not answer (${last}); the container wrote:\n${logs.stdout}${logs.stderr}`,
  );
}

/** How a command of tug ended. */
interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(args: readonly string[], stdin?: ReadableStream<Uint8Array>): Promise<Outcome> {
  const child = Bun.spawn([tug, ...args], {
    stdin: stdin ?? "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { exitCode, stdout, stderr };
}

/** Runs a command that the demo cannot do without. @returns what it printed */
async function must(args: readonly string[]): Promise<string> {
  const done = await run(args);
  if (done.exitCode !== 0)
    fail(`tug ${args.join(" ")} ended with ${done.exitCode}:\n${done.stderr}`);
  return `${done.stdout}${done.stderr}`;
}

function step(sentence: string): void {
  console.log(`── ${sentence}`);
}

function show(text: string, command?: string): void {
  if (command !== undefined) console.log(`   $ ${command}`);
  console.log(text.trimEnd().replace(/^/gm, "   "));
}

function fail(sentence: string): never {
  console.error(`tug demo: ${sentence}`);
  process.exit(1);
}
