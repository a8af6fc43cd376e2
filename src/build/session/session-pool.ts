/**
 * The clients that have a session now.
 *
 * A session is a connection on which the client is the server: of its files, secrets and credentials.
 * It comes by `POST /session`, before or after the build that names it, and may serve several builds
 * at once. It is gone with its connection.
 */
import type { Duplex } from "node:stream";
import { sessionHeaders, sessionMethods } from "../../api/buildkit/session.ts";
import { EngineError } from "../../lib/errors.ts";
import { GrpcClient } from "../../lib/grpc/client.ts";
import type { GrpcMethod } from "../../lib/grpc/method.ts";
import type { Logger } from "../../lib/log.ts";

/** How long a build waits for the session that it names. */
const sessionWaitMs = 10_000;
const idLengthMax = 256;
const keyLengthMax = 4096;
/** How often a silent client is asked whether it lives, and how long it may take. */
const healthPeriodMs = 10_000;
const healthTimeoutMs = 30_000;

/** A client that serves a build. */
export interface Session {
  readonly id: string;
  readonly name: string;
  /** Names the client's folder among all clients' folders; "" when it has no name. */
  readonly sharedKey: string;
  readonly client: GrpcClient;
  /** Fires when the connection is gone. */
  readonly signal: AbortSignal;
  serves(method: Pick<GrpcMethod<never, never>, "path">): boolean;
}

/** Headers of the request that opened the session, by lower-case name. */
export type SessionHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** All sessions. */
export class SessionPool {
  readonly #logger: Logger;
  readonly #sessions = new Map<string, Session>();
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #healthPeriodMs: number;

  constructor(options: { readonly logger: Logger; readonly healthPeriodMs?: number }) {
    this.#logger = options.logger;
    this.#healthPeriodMs = options.healthPeriodMs ?? healthPeriodMs;
  }

  /** How many there are. */
  get size(): number {
    return this.#sessions.size;
  }

  /**
   * Reads who wants to open a session; to be asked before the connection is taken.
   *
   * @throws invalid-argument without an ID, already-exists when the ID is taken
   */
  check(headers: SessionHeaders): string {
    const id = headerOf(headers, sessionHeaders.id);
    if (id === "" || id.length > idLengthMax) {
      throw new EngineError("invalid-argument", `no session ID in ${sessionHeaders.id}`);
    }
    if (this.#sessions.has(id))
      throw new EngineError("already-exists", `session ${id} already exists`);
    return id;
  }

  /** Serves a session until its connection ends. */
  async accept(duplex: Duplex, headers: SessionHeaders): Promise<void> {
    const id = this.check(headers);
    const client = new GrpcClient(duplex);
    const gone = new AbortController();
    const methods = new Set(
      headerOf(headers, sessionHeaders.method)
        .split(",")
        .map((path) => path.trim().toLowerCase()),
    );
    const session: Session = {
      id,
      name: headerOf(headers, sessionHeaders.name),
      sharedKey: headerOf(headers, sessionHeaders.sharedKey).slice(0, keyLengthMax),
      client,
      signal: gone.signal,
      serves: ({ path }) => methods.has(path.toLowerCase()),
    };
    this.#sessions.set(id, session);
    for (const wake of this.#waiting.get(id) ?? []) wake();
    this.#logger.debug("build session opened", { id, name: session.name });
    const watch = setInterval(() => void this.#checkHealth(session), this.#healthPeriodMs);
    try {
      await client.closed;
    } finally {
      clearInterval(watch);
      this.#sessions.delete(id);
      gone.abort(new EngineError("canceled", "the client's build session has ended"));
      this.#logger.debug("build session ended", { id });
    }
  }

  /**
   * The session of an ID, waited for when it is not there yet.
   *
   * @throws not-found `no active session for <id>` when it does not come in time
   */
  async get(id: string, signal?: AbortSignal): Promise<Session> {
    const present = this.#sessions.get(id);
    if (present !== undefined) return present;
    const come = Promise.withResolvers<void>();
    const waiting = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiting.add(come.resolve));
    const timer = setTimeout(come.resolve, sessionWaitMs);
    const stop = (): void => come.resolve();
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted === true) stop();
    try {
      await come.promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
      waiting.delete(come.resolve);
      if (waiting.size === 0) this.#waiting.delete(id);
    }
    const session = this.#sessions.get(id);
    if (session !== undefined) return session;
    if (signal?.aborted === true) throw new EngineError("canceled", "context canceled");
    throw new EngineError("not-found", `no active session for ${id}: context deadline exceeded`);
  }

  /** Ends all sessions. */
  close(): void {
    for (const { client } of this.#sessions.values()) client.close();
  }

  /** A client that is stopped, or whose machine is gone, holds a build up no longer than this. */
  async #checkHealth(session: Session): Promise<void> {
    if (!session.serves(sessionMethods.health)) return;
    try {
      await session.client.unary(sessionMethods.health, {}, { timeoutMs: healthTimeoutMs });
    } catch (error) {
      if (!(error instanceof EngineError) || error.kind !== "deadline-exceeded") return;
      this.#logger.warn("a build client does not answer: its session is ended", {
        id: session.id,
        timeoutMs: healthTimeoutMs,
      });
      session.client.close();
    }
  }
}

function headerOf(headers: SessionHeaders, name: string): string {
  const value = headers[name];
  if (value === undefined) return "";
  return typeof value === "string" ? value : value.join(",");
}
