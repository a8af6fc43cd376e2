/**
 * RUN: one command in the file system of its step, isolated as any container is.
 *
 * 1. A shim is taken from the pool; while it answers, it is connected to the network.
 * 2. Mounts, `hosts` and `resolv.conf` are made outside of the layer.
 * 3. The shim mounts the snapshot and starts the command; what it prints is told as it comes.
 * 4. It ends: everything is given back, and what the start put into the layer to mount on is removed.
 *
 * A step has no record. A shim of a daemon that was killed is ended by the next one, as it belongs to
 * no container.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { EngineError, messageOf } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import type { AttachRequest, Endpoint } from "../../network/network-service.ts";
import type { ExitStatus, StartRequest } from "../../runtime/shim-protocol.ts";
import type { SandboxWishes } from "../../runtime/sandbox/sandbox-plan.ts";
import type { Shim } from "../../runtime/shim.ts";
import { killAndWait } from "../../sys/process/kill.ts";
import { signalProcess } from "../../sys/process/process.ts";
import type { Platform } from "../../oci/platform.ts";
import type { BuildRequest } from "../build-service.ts";
import type { CacheMounts } from "../cache/cache-mounts.ts";
import type { HeldStep } from "../failed-steps.ts";
import type { BuildServiceOptions } from "../environment.ts";
import { OutputFrames } from "./_output-frames.ts";
import { OutputLimit } from "./_output-limit.ts";
import { writeEtcFiles } from "./_step-etc-files.ts";
import { adviseForeign, describeFailure, failed, startFailed } from "./_step-failures.ts";
import { openStepMounts, type StepMounts } from "./_step-mounts.ts";
import { stepHostname, stepSpec } from "./_step-spec.ts";
import { removeStubs } from "./_stubs.ts";
import type { RunAction, Step, StepResult } from "../step.ts";

/** What a step's command is run with. */
export interface RunStepRequest {
  readonly run: RunAction;
  /** Key of the active snapshot. */
  readonly snapshotKey: string;
  readonly results: ReadonlyMap<Step, StepResult>;
  readonly build: Pick<
    BuildRequest,
    "client" | "resources" | "shmSizeBytes" | "cgroupParent" | "ulimits"
  >;
  /** What the command's programs are for. */
  readonly platform: Platform;
  readonly onOutput: (stream: "stdout" | "stderr", bytes: Uint8Array) => void;
  /** Takes over the mounts of a command that failed. */
  readonly onHeld?: (held: HeldStep) => void;
  readonly signal: AbortSignal;
}

/** What running commands works with. */
export type RunStepOptions = BuildServiceOptions & { readonly cacheMounts: CacheMounts };

const endMaxMs = 10_000;

/** Folders of steps that run, on the exec root. */
export function stepBundle(options: Pick<BuildServiceOptions, "execRoot">, id: string): string {
  return join(options.execRoot, "builds", id);
}

/**
 * Runs a command to its end.
 *
 * @throws invalid-argument `process "…" did not complete successfully: exit code: n` with
 * `details.exitCode` and `details.command`; canceled, once the command has ended
 */
export async function runStep(options: RunStepOptions, request: RunStepRequest): Promise<void> {
  const id = createId();
  await using undo = new AsyncDisposableStack();
  const held = undo.use(new AsyncDisposableStack());
  const made: Running["made"] = {};
  try {
    const status = await execute(options, { ...request, id, undo, held, made });
    if (status.exitCode === 0) {
      await undo.disposeAsync();
      removeStubs(options.snapshots.layersOf(request.snapshotKey), stubsOf(request.run));
      return;
    }
    adviseForeign(request);
    const reason = status.isOomKilled ? " (out of memory)" : "";
    throw failed(request.run, `exit code: ${status.exitCode}${reason}`, status.exitCode);
  } catch (error) {
    if (request.signal.aborted) throw new EngineError("canceled", "context canceled");
    const hasFailed = error instanceof EngineError && typeof error.details["exitCode"] === "number";
    if (hasFailed && request.onHeld !== undefined) {
      const close = held.move();
      request.onHeld({
        mounts: made.mounts?.inputs ?? [],
        [Symbol.asyncDispose]: async () => await close.disposeAsync(),
      });
    }
    throw error;
  }
}

interface Running extends RunStepRequest {
  readonly id: string;
  readonly undo: AsyncDisposableStack;
  /** Mounts, and the folders that they are in. */
  readonly held: AsyncDisposableStack;
  readonly made: { mounts?: StepMounts; hasEnded?: boolean };
}

async function execute(options: RunStepOptions, running: Running): Promise<ExitStatus> {
  const { undo, held, run, id, signal } = running;
  if (signal.aborted) throw new EngineError("canceled", "context canceled");
  const bundle = stepBundle(options, id);
  const scratch = join(options.dataRoot, "build", "scratch", id);
  mkdirSync(join(bundle, "rootfs"), { recursive: true, mode: 0o711 });
  held.defer(() => rmSync(bundle, { recursive: true, force: true }));
  held.defer(() => rmSync(scratch, { recursive: true, force: true }));
  const attach = attachRequestOf(running);
  const wanted = { running, attach, bundle, scratch };
  const { shim, endpoint, inside, mounts } = await takeAll(options, wanted);
  const ended = Promise.withResolvers<ExitStatus>();
  // Whoever waits for it sees a failure; before the command has started nobody does.
  ended.promise.catch(() => undefined);
  shim.listen({
    exited: (status) => {
      running.made.hasEnded = true;
      ended.resolve(status);
    },
    oomKilled: () => undefined,
    execExited: () => undefined,
    lost: (reason) => {
      running.made.hasEnded = true;
      ended.reject(new EngineError("unavailable", `step lost: ${reason}`));
    },
  });
  const [output] = await Promise.all([
    readOutput(shim, running),
    inside === undefined ? undefined : shim.openSandbox(inside),
  ]);
  const etcFiles = writeEtcFiles(run, { bundle, gateway: endpoint.gateway });
  const start = startRequest(options, { running, mounts, bundle, etcFiles });
  const networkSysctls = run.network === "host" ? {} : start.sysctls;
  let started: { readonly pid: number; readonly pidStartTime: string };
  try {
    started = await shim.start({ ...start.request, spec: start.spec, networkSysctls });
  } catch (error) {
    throw startFailed(running, error);
  }
  const kill = (): void => {
    signalProcess(started.pid, "SIGKILL", { startTime: BigInt(started.pidStartTime) });
  };
  signal.addEventListener("abort", kill, { once: true });
  undo.defer(() => signal.removeEventListener("abort", kill));
  if (signal.aborted) kill();
  const status = await ended.promise;
  await output.ended;
  return status;
}

/** What a step has before its command is started. */
interface Taken {
  readonly shim: Shim;
  readonly endpoint: Endpoint;
  readonly inside: SandboxWishes | undefined;
  readonly mounts: StepMounts;
}

/** Takes shim, address and mounts at the same time; each is given back whatever becomes of the rest. */
async function takeAll(
  options: RunStepOptions,
  wanted: {
    readonly running: Running;
    readonly attach: AttachRequest;
    readonly bundle: string;
    readonly scratch: string;
  },
): Promise<Taken> {
  const { running, attach, bundle, scratch } = wanted;
  const { undo, id, run, results, signal } = running;
  const { client } = running.build;
  const allocated = options.networks.allocate(attach);
  let inside: SandboxWishes | undefined;
  const meanwhile = async ({ pid: sandboxPid }: Pick<Shim, "pid">): Promise<void> => {
    inside = await options.networks.connect(await allocated, { request: attach, sandboxPid });
  };
  const [shim, endpoint, mounts] = await Promise.allSettled([
    options.shims.acquire(id, { meanwhile }),
    allocated,
    openStepMounts(options, { run, results, client, bundle, scratch, signal }),
  ]);
  // Mounts are the last to go: the shim unmounts the file system that they are on.
  if (mounts.status === "fulfilled") running.made.mounts = running.held.use(mounts.value);
  if (endpoint.status === "fulfilled") {
    undo.defer(async () => {
      await options.networks.disconnect(endpoint.value, { containerId: id });
    });
  }
  if (shim.status === "fulfilled") {
    undo.defer(async () => {
      // It may be another container's already: it is not ours to end.
      if (running.made.hasEnded !== true) await endShim(options, shim.value);
      await options.shims.forget(shim.value.name);
    });
  }
  if (shim.status === "rejected") throw shim.reason;
  if (endpoint.status === "rejected") throw endpoint.reason;
  if (mounts.status === "rejected") throw mounts.reason;
  return { shim: shim.value, endpoint: endpoint.value, inside, mounts: mounts.value };
}

/** Ends a shim in whatever state it is. One that has told of its process's end goes by itself. */
async function endShim(options: RunStepOptions, shim: Shim): Promise<void> {
  try {
    const { phase, pid, pidStartTime } = await shim.state();
    if (phase === "running" && pid !== undefined && pidStartTime !== undefined) {
      await killAndWait(pid, { startTime: BigInt(pidStartTime), timeoutMs: endMaxMs });
    } else if (phase !== "exited") await shim.abandon();
  } catch (error) {
    // It has gone already, as it does after the end of its process.
    options.logger.debug("end the shim of a step", { shim: shim.name, reason: messageOf(error) });
  }
}

function attachRequestOf({ id, run }: Running): AttachRequest {
  return {
    containerId: id,
    containerName: `build-${id.slice(0, 12)}`,
    hostname: run.hostname ?? stepHostname,
    endpoint: { network: run.network === "default" ? "bridge" : run.network },
    publish: [],
    dnsServers: [],
  };
}

function startRequest(
  options: RunStepOptions,
  plan: {
    readonly running: Running;
    readonly mounts: StepMounts;
    readonly bundle: string;
    readonly etcFiles: { readonly hosts: string; readonly resolvConf: string };
  },
): Pick<ReturnType<typeof stepSpec>, "spec" | "sysctls"> & {
  readonly request: Omit<StartRequest, "op" | "networkSysctls" | "spec">;
} {
  const { running, mounts, bundle, etcFiles } = plan;
  const { run, id, build } = running;
  const { defaults, snapshots } = options;
  const runtime = defaults.runtimes[defaults.defaultRuntime];
  if (runtime === undefined) {
    throw new EngineError("unavailable", `the runtime ${defaults.defaultRuntime} is not known`);
  }
  const rootfs = snapshots.mounts(running.snapshotKey);
  const { spec, sysctls } = describeFailure(run, () =>
    stepSpec(options, { id, run, build, mounts, rootfs, etcFiles, root: join(bundle, "rootfs") }),
  );
  return {
    spec,
    sysctls,
    request: {
      containerId: id,
      bundle,
      rootfs: { ...rootfs, target: join(bundle, "rootfs") },
      stdio: { hasTty: false, openStdin: false, stdinOnce: false },
      log: { driver: "none", sizeMaxBytes: 0, countMax: 1, isCompressed: false },
      runtime: { ...runtime, root: join(options.execRoot, "runtime", defaults.defaultRuntime) },
    },
  };
}

/** Passes on what the command prints. Returns once nothing can be missed. */
async function readOutput(
  shim: Shim,
  { onOutput, undo }: Running,
): Promise<{ readonly ended: Promise<void> }> {
  const stream = await shim.attach({ stdin: false, stdout: true, stderr: true });
  // A shim stays as long as somebody listens to it.
  undo.defer(() => void stream.destroy());
  const limit = new OutputLimit();
  const frames = new OutputFrames((name, bytes) => {
    const shown = limit.take(bytes);
    if (shown !== undefined && shown.length > 0) onOutput(name, Uint8Array.from(shown));
  });
  const over = (async () => {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) frames.push(chunk);
  })();
  // Whoever waits for it sees a failure; until then it must not count as unheard.
  over.catch(() => undefined);
  return { ended: over };
}

function stubsOf(run: RunAction): readonly string[] {
  const targets = run.mounts.flatMap(({ target }) => (target === undefined ? [] : [target]));
  return ["/etc/resolv.conf", "/etc/hosts", ...targets];
}
