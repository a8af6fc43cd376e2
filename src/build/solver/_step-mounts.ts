/** The mounts of one command: found, made, and taken away again. */
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, posix } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import type { MountInput } from "../../runtime/spec/spec-input.ts";
import { openInRoot, openRoot } from "../../sys/fs/fs.ts";
import { mount, mountFlags, mountOverlay, unmount } from "../../sys/mount/mount.ts";
import { openFlags } from "../../sys/libc.ts";
import type { BuildClient } from "../build-service.ts";
import type { CacheMounts } from "../cache/cache-mounts.ts";
import type { BuildServiceOptions } from "../environment.ts";
import { scriptFolder } from "../graph/plan-run.ts";
import {
  chainIdOf,
  type RunAction,
  type RunMountAction,
  type Step,
  type StepResult,
} from "../step.ts";

/** Largest secret. BuildKit, session/secrets. */
const secretMaxBytes = 500 * 1024;

/** What a command's mounts are made with. */
export interface MountRequest {
  readonly run: RunAction;
  readonly results: ReadonlyMap<Step, StepResult>;
  readonly client: BuildClient;
  /** On the exec root; for mount points and what must never be on a disk. */
  readonly bundle: string;
  /** On the data root; for what a writable bind takes. */
  readonly scratch: string;
  readonly signal: AbortSignal;
}

/** The mounts of one command. Closed when its process has ended. */
export interface StepMounts extends AsyncDisposable {
  readonly inputs: readonly MountInput[];
  /** Variables that hold secrets. */
  readonly env: readonly string[];
}

/** Makes a command's mounts. @throws not-found for a required secret that the client has not */
export async function openStepMounts(
  options: Pick<BuildServiceOptions, "snapshots"> & { readonly cacheMounts: CacheMounts },
  request: MountRequest,
): Promise<StepMounts> {
  await using undo = new AsyncDisposableStack();
  const maker = new MountMaker(options, { request, undo });
  const inputs: MountInput[] = [];
  const env: string[] = [];
  for (const [index, each] of request.run.mounts.entries()) {
    const made = await maker.make(each, index);
    if (made?.input !== undefined) inputs.push(made.input);
    if (made?.env !== undefined) env.push(made.env);
  }
  const { script } = request.run;
  if (script !== undefined) inputs.push(maker.script(script));
  const close = undo.move();
  return { inputs, env, [Symbol.asyncDispose]: async () => await close.disposeAsync() };
}

interface Made {
  readonly input?: MountInput;
  readonly env?: string;
}

class MountMaker {
  readonly #options: Parameters<typeof openStepMounts>[0];
  readonly #request: MountRequest;
  readonly #undo: AsyncDisposableStack;
  #secretFolder: string | undefined;

  constructor(
    options: Parameters<typeof openStepMounts>[0],
    more: { readonly request: MountRequest; readonly undo: AsyncDisposableStack },
  ) {
    this.#options = options;
    this.#request = more.request;
    this.#undo = more.undo;
  }

  async make(action: RunMountAction, index: number): Promise<Made | undefined> {
    switch (action.kind) {
      case "bind":
        return { input: this.#bind(action, index) };
      case "cache":
        return { input: await this.#cache(action, index) };
      case "tmpfs":
        return {
          input: {
            type: "tmpfs",
            target: action.target,
            isReadOnly: false,
            isRecursive: false,
            options: action.sizeBytes === undefined ? [] : [`size=${action.sizeBytes}`],
          },
        };
      case "secret":
        return await this.#secret(action, index);
      case "ssh":
        return await this.#ssh(action);
    }
  }

  /** A file of its own for a script, where the process finds it. */
  script(script: NonNullable<RunAction["script"]>): MountInput {
    const folder = join(this.#request.bundle, "pipes");
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    this.#undo.defer(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, posix.basename(script.name));
    writeFileSync(path, script.content, { mode: 0o755 });
    chmodSync(path, 0o755);
    return bindInput({ source: folder, target: scriptFolder, isReadOnly: true });
  }

  #bind(action: Extract<RunMountAction, { kind: "bind" }>, index: number): MountInput {
    const tree = this.#tree(action.from, { index, isWritable: !action.isReadOnly });
    const source = resolveInside(tree, action.source);
    return bindInput({ source, target: action.target, isReadOnly: action.isReadOnly });
  }

  /** A folder that shows the files of a result. A writable one forgets what was written. */
  #tree(step: Step, how: { readonly index: number; readonly isWritable: boolean }): string {
    const lowerDirs = this.#layersOf(step);
    const [only, ...more] = lowerDirs;
    if (only !== undefined && more.length === 0 && !how.isWritable) return only;
    const target = join(this.#request.bundle, "mounts", String(how.index));
    mkdirSync(target, { recursive: true, mode: 0o755 });
    this.#undo.defer(() => rmSync(target, { recursive: true, force: true }));
    if (only === undefined && !how.isWritable) return target;
    if (!how.isWritable) mountOverlay({ lowerDirs, target });
    else {
      const scratch = join(this.#request.scratch, String(how.index));
      const [upperDir, workDir, empty] = ["fs", "work", "empty"].map((name) => {
        const path = join(scratch, name);
        mkdirSync(path, { recursive: true, mode: 0o755 });
        return path;
      });
      this.#undo.defer(() => rmSync(scratch, { recursive: true, force: true }));
      if (upperDir === undefined || workDir === undefined || empty === undefined) return target;
      mountOverlay({
        lowerDirs: lowerDirs.length === 0 ? [empty] : lowerDirs,
        upperDir,
        workDir,
        target,
      });
    }
    this.#undo.defer(() => {
      unmount(target, { detach: true });
    });
    return target;
  }

  #layersOf(step: Step): readonly string[] {
    const result = this.#request.results.get(step);
    if (result?.contextPath !== undefined) {
      // The folders above let nobody in; the command's user may be anybody.
      chmodSync(result.contextPath, 0o755);
      return [result.contextPath];
    }
    const chainId = result === undefined ? undefined : chainIdOf(result);
    if (chainId === undefined) return [];
    const { kind, dir, parentDirs } = this.#options.snapshots.layersOf(chainId);
    return kind === "copy" ? [dir] : [dir, ...parentDirs];
  }

  async #cache(
    action: Extract<RunMountAction, { kind: "cache" }>,
    index: number,
  ): Promise<MountInput> {
    const { from } = action;
    const seed =
      from === undefined
        ? undefined
        : () => resolveInside(this.#tree(from, { index, isWritable: false }), action.source);
    const chainId =
      from === undefined ? undefined : chainIdOf(this.#request.results.get(from) ?? noResult);
    const used = await this.#options.cacheMounts.acquire({
      id: action.id,
      sharing: action.sharing,
      mode: action.mode,
      uid: action.uid,
      gid: action.gid,
      ...(seed === undefined ? {} : { seed, seedId: `${chainId ?? "context"}:${action.source}` }),
      signal: this.#request.signal,
    });
    this.#undo.defer(() => used.release());
    return bindInput({
      source: used.path,
      target: action.target,
      isReadOnly: action.isReadOnly,
    });
  }

  async #secret(
    action: Extract<RunMountAction, { kind: "secret" }>,
    index: number,
  ): Promise<Made | undefined> {
    const value = await this.#request.client.secret(action.id);
    if (value === undefined) {
      if (!action.isRequired) return undefined;
      throw new EngineError("not-found", `secret ${action.id}: not found`);
    }
    if (value.length > secretMaxBytes) {
      throw new EngineError("invalid-argument", `invalid secret size ${value.length}`);
    }
    const env =
      action.env === undefined ? {} : { env: `${action.env}=${new TextDecoder().decode(value)}` };
    if (action.target === undefined) return env;
    const path = join(this.#secrets(), String(index));
    writeFileSync(path, value, { mode: 0o600 });
    chownSync(path, action.uid, action.gid);
    chmodSync(path, action.mode);
    return {
      ...env,
      input: bindInput({ source: path, target: action.target, isReadOnly: true }),
    };
  }

  /** A folder in memory. */
  #secrets(): string {
    if (this.#secretFolder !== undefined) return this.#secretFolder;
    const target = join(this.#request.bundle, "secrets");
    mkdirSync(target, { recursive: true, mode: 0o700 });
    this.#undo.defer(() => rmSync(target, { recursive: true, force: true }));
    mount({
      source: "tmpfs",
      target,
      type: "tmpfs",
      flags: mountFlags.noSuid | mountFlags.noExec | mountFlags.noDev,
      data: "mode=0700",
    });
    this.#undo.defer(() => {
      unmount(target, { detach: true });
    });
    this.#secretFolder = target;
    return target;
  }

  async #ssh(action: Extract<RunMountAction, { kind: "ssh" }>): Promise<Made | undefined> {
    const agent = await this.#request.client.sshAgent(action.id);
    if (agent === undefined) {
      if (!action.isRequired) return undefined;
      throw new EngineError("not-found", `unset ssh forward key ${action.id}`);
    }
    this.#undo.use(agent);
    chownSync(agent.path, action.uid, action.gid);
    chmodSync(agent.path, action.mode);
    // Shown at a second place, so that the folder around it is not.
    return {
      input: bindInput({ source: agent.path, target: action.target, isReadOnly: false }),
    };
  }
}

const noResult: StepResult = { layers: [], isCached: false };

function bindInput(options: {
  readonly source: string;
  readonly target: string;
  readonly isReadOnly: boolean;
}): MountInput {
  return { type: "bind", ...options, isRecursive: true };
}

/** The real path of `path` below `root`; no link leads out of it. */
function resolveInside(root: string, path: string): string {
  if (path === "/" || path === "") return root;
  const rootFd = openRoot(root);
  try {
    const fd = openInRoot(rootFd, path.replace(/^\/+/, ""), openFlags.path);
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw new EngineError("not-found", `mount source ${JSON.stringify(path)}: not found`, {
      cause: error,
    });
  } finally {
    closeSync(rootFd);
  }
}
