/** Calls of the OCI runtime, and its failures in Docker's words. */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { sleep } from "../../lib/concurrency/retry.ts";
import { codeOf, EngineError } from "../../lib/errors.ts";
import { processStartTime, run, signalProcess } from "../../sys/process/process.ts";
import { withChildren } from "./_orphans.ts";

/** How long a call that was killed may take to be gone. */
const callEndMaxMs = 5000;
const callLookMs = 10;

/** Which runtime, with what state folder. */
export interface RuntimeProgram {
  readonly path: string;
  readonly args: readonly string[];
  readonly root: string;
}

/** How one call is made. */
export interface RuntimeCallOptions {
  readonly program: RuntimeProgram;
  /** Subcommand and what follows. */
  readonly argv: readonly string[];
  /** Where the runtime writes why it failed; removed afterwards. */
  readonly logPath: string;
  readonly stdio: {
    readonly stdin: number | "ignore";
    readonly stdout: number | "ignore";
    readonly stderr: number | "ignore";
  };
}

/**
 * Calls the runtime and waits for its end.
 *
 * @returns undefined when it did what it was asked; else its last complaint
 * @throws not-found when there is no such program
 */
export async function callRuntime(options: RuntimeCallOptions): Promise<string | undefined> {
  const { program } = options;
  const argv = [
    program.path,
    ...program.args,
    "--root",
    program.root,
    "--log",
    options.logPath,
    "--log-format",
    "json",
    ...options.argv,
  ];
  try {
    const { exitCode } = await withChildren(() => run({ argv, stdio: options.stdio }));
    if (exitCode === 0) return undefined;
    return lastComplaint(options.logPath) ?? `${program.path} exited with status ${exitCode}`;
  } finally {
    // crun makes one whether it has anything to say or not.
    rmSync(options.logPath, { force: true });
  }
}

/** Has the runtime kill a container and forget it; what it complains of is of no use to anybody. */
export async function deleteContainer(
  program: RuntimeProgram,
  options: { readonly containerId: string; readonly logFolder: string },
): Promise<void> {
  await callRuntime({
    program,
    argv: ["delete", "--force", options.containerId],
    logPath: join(options.logFolder, "delete.log"),
    stdio: { stdin: "ignore", stdout: "ignore", stderr: "ignore" },
  });
}

/**
 * Ends calls of the runtime for a container, with what they have forked so far: after the end of a shim
 * they go on by themselves, and would make the container behind our back.
 */
export async function endRuntimeCalls(program: RuntimeProgram, containerId: string): Promise<void> {
  const deadline = performance.now() + callEndMaxMs;
  while (killCalls(program, containerId) && performance.now() < deadline) {
    await sleep(callLookMs);
  }
}

/** @returns whether there were any */
function killCalls(program: RuntimeProgram, containerId: string): boolean {
  const isCall = (pid: string): boolean => {
    const words = commandOf(pid);
    return words.includes(program.root) && words.includes(containerId);
  };
  let isAny = false;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name) || !isCall(name)) continue;
    const startTime = processStartTime(Number(name));
    // Looked at again: the PID may have come to mean another one.
    if (startTime === undefined || !isCall(name)) continue;
    signalProcess(Number(name), "SIGKILL", { startTime });
    isAny = true;
  }
  return isAny;
}

/** The words a process was started with; none when it has ended. */
function commandOf(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ESRCH") return [];
    throw error;
  }
}

function lastComplaint(logPath: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(logPath, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
  // crun 1.8 writes {"msg":…,"level":"error",…}, runc {"level":"error","msg":…}.
  const messages = [...text.matchAll(/"msg":("(?:[^"\\]|\\.)*")/g)].map(
    (match) => match[1] ?? '""',
  );
  const last = messages.at(-1);
  return last === undefined ? undefined : decodeString(last);
}

function decodeString(json: string): string | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "string" ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return json;
    throw error;
  }
}

/** What was to be started. */
export interface StartedCommand {
  readonly verb: "create" | "exec";
  readonly command: string;
  readonly cwd: string;
}

/**
 * The failure for a complaint of the runtime.
 *
 * invalid-argument with `details.exitCode` 127 (not there) or 126 (not to be run) when the command
 * is to blame, internal otherwise.
 */
export function runtimeFailure(complaint: string, started: StartedCommand): EngineError {
  // Docker: these sentences, without the ": unknown" of older ones, seen in 28.5.
  const head =
    started.verb === "create"
      ? "failed to create task for container: failed to create shim task: OCI runtime create failed: "
      : "OCI runtime exec failed: ";
  const why = started.verb === "create" ? "runc create failed: " : "exec failed: ";
  const blamed = blame(complaint, started);
  if (blamed === undefined) return new EngineError("internal", `${head}${complaint}`);
  const message = `${head}${why}unable to start container process: ${blamed.reason}`;
  return new EngineError("invalid-argument", message, { details: { exitCode: blamed.exitCode } });
}

interface Blame {
  readonly exitCode: 126 | 127;
  readonly reason: string;
}

function blame(complaint: string, started: StartedCommand): Blame | undefined {
  const command = JSON.stringify(started.command);
  const [, runcReason] = /unable to start container process: (.*)$/.exec(complaint) ?? [];
  if (runcReason !== undefined) return blameRunc(runcReason);
  if (/^executable file .* not found/.test(complaint)) {
    const reason = started.command.includes("/")
      ? `stat ${started.command}: no such file or directory`
      : "executable file not found in $PATH";
    return { exitCode: 127, reason: `exec: ${command}: ${reason}` };
  }
  if (
    /^(?:open executable|exec[^:]*): (?:Permission denied|Operation not permitted|Is a directory)/.test(
      complaint,
    )
  ) {
    return { exitCode: 126, reason: `exec: ${command}: permission denied` };
  }
  const [, errno] = /^chdir `.*`: (.*)$/s.exec(complaint) ?? [];
  if (errno === undefined) return undefined;
  const reason = `chdir to cwd (${JSON.stringify(started.cwd)}) set in config.json failed: ${errno.toLowerCase()}`;
  return { exitCode: errno === "No such file or directory" ? 127 : 126, reason };
}

function blameRunc(reason: string): Blame | undefined {
  if (/not found|no such file/.test(reason)) return { exitCode: 127, reason };
  if (/permission denied|is a directory|not a directory/.test(reason))
    return { exitCode: 126, reason };
  return undefined;
}
