/**
 * Attaching clients to a container's own process.
 *
 * One who attaches before the start is kept, and joined to the shim before the process exists: no
 * byte is missed.
 */
import { once } from "node:events";
import { Duplex } from "node:stream";
import { attachPaused, containerNotRunning } from "../../lib/docker-messages.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import { detachKeysDefault, parseDetachKeys } from "../../runtime/detach-keys.ts";
import type { AttachOptions, Shim } from "../../runtime/shim.ts";
import { type Context, publish } from "../context.ts";
import type { AttachQuery, Attachment } from "../container-service.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { readLogs } from "./logs.ts";
import { PendingStream } from "./pending-stream.ts";
import { isAlive, processOf } from "../process-signal.ts";

/** Clients that may wait for the start of one container. */
const pendingCountMax = 100;

/** A pending stream with what it asked for. */
class PendingAttachment extends PendingStream {
  readonly options: AttachOptions;

  constructor(options: AttachOptions) {
    super();
    this.options = options;
  }
}

/**
 * Attaches a client.
 *
 * @param options.name the container as the caller gave it
 * @throws conflict when it is paused or going away; invalid-argument for bad detach keys
 */
export async function attachToContainer(
  context: Context,
  container: LiveContainer,
  options: { readonly query: AttachQuery; readonly name: string },
): Promise<Attachment> {
  const { query, name } = options;
  const { phase, config } = container.record;
  const wish = attachOptionsOf(query, config);
  if (phase === "paused") throw attachPaused(name);
  if (container.isRemoving || phase === "dead") throw containerNotRunning(container.id);
  const live = query.stream ? await openLive(context, container, wish) : undefined;
  publish(context, container, { action: "attach" });
  if (!query.logs) return { hasTty: config.Tty, stream: live ?? emptyStream() };
  const logs = readLogs(context, container, {
    follow: false,
    stdout: query.stdout,
    stderr: query.stderr,
    untilNs: context.now(),
    timestamps: false,
    details: false,
  });
  return { hasTty: config.Tty, stream: concatenate(logs, live) };
}

function attachOptionsOf(
  query: AttachQuery,
  config: LiveContainer["record"]["config"],
): AttachOptions {
  const keys = detachKeysOf(query.detachKeys);
  return {
    stdin: query.stdin && config.OpenStdin,
    stdout: query.stdout,
    stderr: query.stderr,
    ...(config.Tty && query.stdin ? { detachKeys: keys } : {}),
  };
}

/** Reads detach keys, Docker's when none are given. @throws invalid-argument */
export function detachKeysOf(text: string | undefined): readonly number[] {
  return text === undefined || text === "" ? detachKeysDefault : parseDetachKeys(text);
}

async function openLive(
  context: Context,
  container: LiveContainer,
  wish: AttachOptions,
): Promise<Duplex> {
  const { shim } = container;
  if (shim === undefined) return wait(container, wish);
  try {
    const stream = await shim.attach(wish);
    tellDetach(context, container, stream);
    return stream;
  } catch (error) {
    // It ended just now: there is nothing to be seen any more.
    if (isKind(error, "conflict", "unavailable")) return emptyStream();
    throw error;
  }
}

function wait(container: LiveContainer, wish: AttachOptions): Duplex {
  if (container.pendingStreams.size >= pendingCountMax) {
    throw new EngineError(
      "unavailable",
      `attach to container ${container.id}: ${pendingCountMax} clients wait for its start`,
    );
  }
  const pending = new PendingAttachment(wish);
  container.pendingStreams.add(pending);
  pending.on("close", () => container.pendingStreams.delete(pending));
  return pending;
}

/** Joins all who wait to the shim; they are attached when it resolves, and at their end when it fails. */
export async function joinPendingStreams(container: LiveContainer, shim: Shim): Promise<void> {
  const waiting = [...container.pendingStreams];
  if (waiting.length === 0) return;
  container.pendingStreams.clear();
  await Promise.all(
    waiting.map(async (pending) => {
      if (!(pending instanceof PendingAttachment) || pending.destroyed) return;
      try {
        pending.join(await shim.attach(pending.options));
      } catch (error) {
        pending.abandon();
        throw error;
      }
    }),
  );
}

/** A stream that ends while the process lives has been detached from. */
function tellDetach(context: Context, container: LiveContainer, stream: Duplex): void {
  stream.once("end", () => {
    if (!container.isRunning || container.isRemoving) return;
    if (isAlive(processOf(container))) publish(context, container, { action: "detach" });
  });
}

function emptyStream(): Duplex {
  return Duplex.from(
    (async function* () {
      // Nothing will come.
    })(),
  );
}

/** What was logged, then what comes; writes go to the latter. */
function concatenate(logs: AsyncIterable<Uint8Array>, live: Duplex | undefined): Duplex {
  const output = async function* (): AsyncGenerator<Uint8Array> {
    yield* logs;
    if (live !== undefined) yield* live;
  };
  const readable = output();
  return new Duplex({
    allowHalfOpen: true,
    async read() {
      try {
        const next = await readable.next();
        this.push(next.done === true ? null : next.value);
      } catch (error) {
        this.destroy(error instanceof Error ? error : new EngineError("internal", String(error)));
      }
    },
    async write(chunk, _encoding, callback) {
      if (live === undefined || live.destroyed || live.writableEnded) return callback();
      if (!live.write(chunk)) await Promise.race([once(live, "drain"), once(live, "close")]);
      callback();
    },
    final(callback) {
      live?.end();
      callback();
    },
    destroy(error, callback) {
      live?.destroy();
      callback(error);
    },
  });
}
