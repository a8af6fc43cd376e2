/** The OCI runtime as the daemon calls it: signals, freezing, state; starting is the shims' work. */
import { join } from "node:path";
import { tmpdir } from "node:os";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { EngineError } from "../lib/errors.ts";
import { cgroupPaths } from "../sys/cgroup.ts";
import { run } from "../sys/process.ts";
import type { RuntimeProgram } from "./_runtime-call.ts";

const freezeLookCountMax = 200;
const freezeLookMs = 1;
const callMaxMs = 30_000;

/** One container as the runtime lists it. */
export interface ListedContainer {
  readonly id: string;
  readonly pid: number;
  readonly status: string;
  readonly bundle: string;
}

/** Calls one runtime with one state folder. */
export class OciRuntime {
  readonly #program: RuntimeProgram;

  constructor(program: RuntimeProgram) {
    this.#program = program;
  }

  /** Sends a signal to the first process, or to all. @throws not-found when there is none */
  async kill(
    id: string,
    signal: number | string,
    options: { readonly all?: boolean } = {},
  ): Promise<void> {
    await this.#call(["kill", ...(options.all === true ? ["--all"] : []), id, String(signal)]);
  }

  /** Freezes all processes of a container; resolves when they stand. */
  async pause(id: string, options: { readonly cgroupsPath?: string } = {}): Promise<void> {
    if (!(await freeze(options.cgroupsPath, true))) await this.#call(["pause", id]);
  }

  /** Lets them go on. */
  async resume(id: string, options: { readonly cgroupsPath?: string } = {}): Promise<void> {
    if (!(await freeze(options.cgroupsPath, false))) await this.#call(["resume", id]);
  }

  /** Forgets a container; `force` kills it first. A missing one is no failure then. */
  async delete(id: string, options: { readonly force?: boolean } = {}): Promise<void> {
    await this.#call(["delete", ...(options.force === true ? ["--force"] : []), id]);
  }

  /** What the runtime knows of. */
  async list(): Promise<readonly ListedContainer[]> {
    const text = await this.#call(["list", "--format", "json"]);
    const decoded: unknown = JSON.parse(text === "" ? "[]" : text);
    return Array.isArray(decoded) ? (decoded as ListedContainer[]) : [];
  }

  /** What `--version` says, and what of it names the version. */
  async version(): Promise<{
    readonly text: string;
    readonly version: string;
    readonly commit: string;
  }> {
    const text = await this.#call(["--version"]);
    return {
      text: text.trim(),
      version: /version:?\s+(\S+)/.exec(text)?.[1] ?? "",
      commit: /commit:?\s+(\S+)/.exec(text)?.[1] ?? "",
    };
  }

  /** What `features` says as JSON; undefined where the runtime is too old to have it. */
  async features(): Promise<unknown> {
    const { path, args } = this.#program;
    const result = await run({ argv: [path, ...args, "features"], timeoutMs: callMaxMs });
    if (result.exitCode !== 0) return undefined;
    try {
      return JSON.parse(result.stdout) as unknown;
    } catch (error) {
      if (error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  async #call(argv: readonly string[]): Promise<string> {
    const { path, args, root } = this.#program;
    const result = await run({
      argv: [path, ...args, "--root", root, ...argv],
      cwd: tmpdir(),
      timeoutMs: callMaxMs,
    });
    if (result.exitCode === 0) return result.stdout;
    const reason = result.stderr.trim().split("\n").at(-1) ?? "";
    const isMissing = /does not exist|No such file|not found|no such process/i.test(reason);
    throw new EngineError(
      isMissing ? "not-found" : "internal",
      `OCI runtime ${argv[0]}: ${reason}`,
    );
  }
}

/**
 * Freezes or thaws by the control group itself, which costs no process.
 *
 * @returns false when there is no freezer to write to
 */
async function freeze(cgroupsPath: string | undefined, isFrozen: boolean): Promise<boolean> {
  if (cgroupsPath === undefined) return false;
  const paths = cgroupPaths(cgroupsPath);
  const unified = paths.get("");
  const folder = unified ?? paths.get("freezer");
  if (folder === undefined || !existsSync(folder)) return false;
  const file = join(folder, unified === undefined ? "freezer.state" : "cgroup.freeze");
  const [frozen, thawed] = unified === undefined ? ["FROZEN", "THAWED"] : ["1", "0"];
  const wanted = isFrozen ? frozen : thawed;
  const isThere = (): boolean => {
    if (unified === undefined) return readFileSync(file, "utf8").trim() === wanted;
    const events = readFileSync(join(folder, "cgroup.events"), "utf8");
    return events.includes(`frozen ${isFrozen ? 1 : 0}`);
  };
  for (let look = 0; look < freezeLookCountMax; look += 1) {
    // Version 1 freezes who is there; those born meanwhile are met by writing again.
    if (look === 0 || unified === undefined) writeFileSync(file, wanted);
    if (isThere()) return true;
    await new Promise((resolve) => setTimeout(resolve, freezeLookMs));
  }
  writeFileSync(file, thawed);
  throw new EngineError("internal", `freeze ${cgroupsPath}: not frozen in time`);
}
