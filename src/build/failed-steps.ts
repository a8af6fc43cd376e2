/**
 * File systems of steps that failed, kept for a while to be looked at.
 *
 * 1. The step fails, of a build that asked for it: what it left becomes an image with a label, and the
 *    client is told how to run a shell in it as the step ran.
 * 2. With a client that waits (`shell`) the step's mounts stay as well, until its session ends; else
 *    (`image`) the image alone stays, for an hour.
 * 3. Containers of the image are removed, then the image, then the mounts. What a killed daemon left is
 *    removed by the next one.
 */
import type { ImageService } from "../image/image-service.ts";
import { messageOf } from "../lib/errors.ts";
import { createId } from "../lib/id.ts";
import type { Logger } from "../lib/log.ts";
import { formatTime, nowNs } from "../lib/time.ts";
import type { Leases } from "../metadata/leases.ts";
import type { ImageConfig } from "../oci/image-config.ts";
import { parseReference } from "../oci/reference.ts";
import type { MountInput } from "../runtime/spec/spec-input.ts";
import type { Platform } from "../oci/platform.ts";
import type { BuiltLayer, RunAction } from "./step.ts";

/** How a failed step is kept. */
export interface DebugRequest {
  readonly kind: "shell" | "image";
  /** Fires when the client has gone. */
  readonly clientGone: AbortSignal;
}

/** What of a failed step has not been taken away yet. */
export interface HeldStep extends AsyncDisposable {
  readonly mounts: readonly MountInput[];
}

/** How a client makes a container that is as the failed step was. JSON, in a state of the step. */
export interface DebugOffer {
  readonly kind: DebugRequest["kind"];
  readonly image: string;
  readonly label: string;
  readonly shell: readonly string[];
  readonly network: RunAction["network"];
  readonly isPrivileged: boolean;
  readonly extraHosts: readonly string[];
  /** Variables that are not secrets and in no image. */
  readonly env: readonly string[];
  /** Variables of the step that hold secrets: a container's would be written to the disk. */
  readonly secretVariables: readonly string[];
  readonly mounts: readonly Pick<MountInput, "type" | "source" | "target" | "isReadOnly">[];
}

/** ID of the state of a step that tells how to look into it. */
export const debugStatusId = "tug.debug";
/** Label of images and containers that are removed by themselves. */
export const failedStepLabel = "tug.build.failed-step";

const repository = "failed-step";
const imageMaxMs = 60 * 60_000;
const shellMaxMs = 12 * 60 * 60_000;
/** Beyond that the oldest goes. */
const keptMax = 16;
const idDigits = 12;
const idForm = /^[0-9a-f]{12}$/;

/** What failed steps are kept with. */
export interface FailedStepsOptions {
  readonly images: Pick<ImageService, "create" | "remove" | "list">;
  readonly leases: Leases;
  readonly logger: Logger;
  /** Removes containers that have a label with a value. */
  readonly removeContainers: (label: string, value: string) => Promise<void>;
  readonly imageMaxMs?: number;
}

/** The kept steps of one daemon. Closing removes them. */
export class FailedSteps implements AsyncDisposable {
  readonly #options: FailedStepsOptions;
  readonly #kept = new Map<string, { readonly release: () => Promise<void> }>();

  constructor(options: FailedStepsOptions) {
    this.#options = options;
  }

  /** Keeps what a step left. Takes over `held`, also when it throws. */
  async keep(failed: {
    readonly debug: DebugRequest;
    readonly run: RunAction;
    readonly platform: Platform;
    readonly layers: readonly BuiltLayer[];
    /** Snapshots that its mounts show. */
    readonly shown: readonly string[];
    readonly held: HeldStep;
  }): Promise<DebugOffer> {
    const { debug, run, layers, held } = failed;
    const { images, leases } = this.#options;
    await using undo = new AsyncDisposableStack();
    undo.use(held);
    const id = createId().slice(0, idDigits);
    const image = `${repository}:${id}`;
    const leaseId = leases.create();
    undo.defer(() => void leases.remove(leaseId));
    for (const chainId of failed.shown) leases.add(leaseId, `snapshot:${chainId}`);
    await images.create({
      config: configOf({ id, run, layers, platform: failed.platform }),
      layers,
      names: [parseReference(image)],
    });
    undo.defer(async () => await this.#removeImage(image));
    undo.defer(async () => await this.#options.removeContainers(failedStepLabel, id));
    if (debug.kind === "image") await held[Symbol.asyncDispose]();
    await this.#hold(id, { debug, close: undo.move() });
    return {
      kind: debug.kind,
      image,
      label: `${failedStepLabel}=${id}`,
      shell: shellOf(run),
      network: run.network,
      isPrivileged: run.isInsecure,
      extraHosts: run.extraHosts,
      // A proxy's password is no less a secret.
      env: debug.kind === "shell" ? run.hiddenEnv.filter((entry) => !/\/\/[^/]*@/.test(entry)) : [],
      secretVariables: run.mounts.flatMap((mount) =>
        mount.kind === "secret" && mount.env !== undefined ? [mount.env] : [],
      ),
      mounts: debug.kind === "shell" ? held.mounts.map(shownMount) : [],
    };
  }

  /**
   * Removes what an earlier daemon left: images of the name that a label of theirs gives them. The label
   * alone tells nothing, as any image may have it, and its containers with it.
   */
  async sweep(): Promise<void> {
    const { images, logger, removeContainers } = this.#options;
    try {
      const left = await images.list({ filters: new Map([["label", [failedStepLabel]]]) });
      for (const { RepoTags, Labels } of left) {
        const id = Labels?.[failedStepLabel] ?? "";
        const image = `${repository}:${id}`;
        if (!idForm.test(id) || RepoTags?.includes(image) !== true) continue;
        await removeContainers(failedStepLabel, id);
        await this.#removeImage(image);
      }
    } catch (error) {
      logger.warn("remove what is left of failed steps", { error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#kept.values()].map(async ({ release }) => await release()));
  }

  async #hold(
    id: string,
    what: { readonly debug: DebugRequest; readonly close: AsyncDisposableStack },
  ): Promise<void> {
    const { debug, close } = what;
    const { logger } = this.#options;
    const maxMs = debug.kind === "shell" ? shellMaxMs : (this.#options.imageMaxMs ?? imageMaxMs);
    const release = async (): Promise<void> => {
      if (!this.#kept.delete(id)) return;
      clearTimeout(timer);
      debug.clientGone.removeEventListener("abort", start);
      try {
        await close.disposeAsync();
      } catch (error) {
        logger.warn("remove a failed step", { id, reason: messageOf(error) });
      }
    };
    const start = (): void => void release();
    const timer = setTimeout(start, maxMs);
    timer.unref();
    this.#kept.set(id, { release });
    if (debug.kind === "shell") {
      debug.clientGone.addEventListener("abort", start, { once: true });
      if (debug.clientGone.aborted) await release();
    }
    const [oldest] = this.#kept.values();
    if (this.#kept.size > keptMax) await oldest?.release();
  }

  async #removeImage(image: string): Promise<void> {
    try {
      await this.#options.images.remove(image, { force: true });
    } catch (error) {
      this.#options.logger.debug("remove the image of a failed step", {
        image,
        reason: messageOf(error),
      });
    }
  }
}

function configOf(failed: {
  readonly id: string;
  readonly run: RunAction;
  readonly layers: readonly BuiltLayer[];
  readonly platform: Platform;
}): ImageConfig {
  const { run, layers, platform } = failed;
  const created = formatTime(nowNs());
  return {
    architecture: platform.architecture,
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
    os: platform.os,
    created,
    config: {
      Env: [...run.env],
      User: run.user,
      WorkingDir: run.workingDir,
      Cmd: [...shellOf(run)],
      Labels: { [failedStepLabel]: failed.id },
    },
    history: layers.map(() => ({ created, created_by: "a step that failed" })),
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
  };
}

/** The shell of the step's own command where it has one. */
function shellOf({ args }: RunAction): readonly string[] {
  const [program = "", option] = args;
  return /^\/.*sh$/.test(program) && option === "-c" ? [program] : ["/bin/sh"];
}

function shownMount({
  type,
  source,
  target,
  isReadOnly,
}: MountInput): DebugOffer["mounts"][number] {
  return { type, ...(source === undefined ? {} : { source }), target, isReadOnly };
}
