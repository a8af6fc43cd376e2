/**
 * Standard streams of this process joined to a hijacked connection.
 *
 *   stdin ──▶ (detach keys) ──▶ connection ──▶ (frames) ──▶ stdout, stderr
 *
 * Each direction is held up by its own slow reader only. The end of input closes the connection's
 * sending half; the end of the connection ends the session.
 */
import type { Socket } from "node:net";
import type { Hijacked } from "../../client/exchange.ts";
import { codeOf, EngineError, messageOf } from "../../lib/errors.ts";
import { openOutputCopier } from "../stream.ts";
import { endOnSignals } from "./signals.ts";
import { DetachWatch, enterRawMode, parseDetachKeys } from "./terminal.ts";

/** How a session's streams are joined. */
export interface SessionOptions {
  readonly hasInput: boolean;
  readonly hasOutput: boolean;
  /** The other side has a terminal: its output is not framed, input is raw. */
  readonly isTty: boolean;
  /** Both output streams come in one; the opposite of `isTty` when omitted. */
  readonly isFramed?: boolean;
  readonly detachKeys: string;
}

/** How a session ended. */
export type SessionEnd = "closed" | "detached";

/** A session under way. */
export interface Session extends AsyncDisposable {
  /** Settles when all output is written, or the detach keys are typed. Ask for it once. */
  readonly ended: Promise<SessionEnd>;
}

/** Joins the streams; nothing is read before. */
export function openSession(hijacked: Hijacked, options: SessionOptions): Session {
  const { socket } = hijacked;
  const cleanups: (() => void)[] = [];
  if (options.hasInput && options.isTty) cleanups.push(endOnSignals(), enterRawMode());
  const detached = Promise.withResolvers<SessionEnd>();
  if (options.hasInput)
    cleanups.push(copyInput(socket, options, () => detached.resolve("detached")));
  const copied = copySocket(hijacked, options).then((): SessionEnd => "closed");
  const ended = Promise.race([copied, detached.promise]);
  ended.catch(() => undefined);
  return {
    ended,
    [Symbol.asyncDispose]: () => {
      for (const cleanup of cleanups.splice(0).reverse()) cleanup();
      socket.destroy();
      return Promise.resolve();
    },
  };
}

async function copySocket(hijacked: Hijacked, options: SessionOptions): Promise<void> {
  const { socket, early } = hijacked;
  const copier = openOutputCopier({ isFramed: options.isFramed ?? !options.isTty });
  const ended = Promise.withResolvers<void>();
  const push = (chunk: Uint8Array): void => {
    try {
      if (options.hasOutput) holdUp(socket, copier.push(chunk), ended.reject);
    } catch (error) {
      socket.destroy();
      ended.reject(error);
    }
  };
  socket.on("data", push);
  socket.once("end", ended.resolve);
  socket.once("close", ended.resolve);
  socket.once("error", (error) => {
    if (codeOf(error) === "ECONNRESET" || codeOf(error) === "EPIPE") ended.resolve();
    else
      ended.reject(new EngineError("unavailable", `stream: ${messageOf(error)}`, { cause: error }));
  });
  if (early.length > 0) push(early);
  // The end may have come with the head, before anybody listened here.
  if (socket.readableEnded || socket.destroyed) ended.resolve();
  socket.resume();
  await ended.promise;
  await copier.end();
}

function holdUp(
  socket: Socket,
  wait: Promise<void> | undefined,
  fail: (error: unknown) => void,
): void {
  if (wait === undefined) return;
  socket.pause();
  wait.then(
    () => socket.resume(),
    (error: unknown) => {
      socket.destroy();
      fail(error);
    },
  );
}

/** Copies standard input to the connection. @returns what stops it */
function copyInput(socket: Socket, options: SessionOptions, onDetach: () => void): () => void {
  const { stdin } = process;
  const watch = options.isTty ? new DetachWatch(parseDetachKeys(options.detachKeys)) : undefined;
  const send = (bytes: Uint8Array): void => {
    if (bytes.length === 0 || !socket.writable || socket.write(bytes)) return;
    stdin.pause();
    socket.once("drain", () => stdin.resume());
  };
  const onData = (chunk: Buffer): void => {
    const { send: bytes, isDetach } = watch?.push(chunk) ?? { send: chunk, isDetach: false };
    send(bytes);
    if (isDetach) onDetach();
  };
  const onEnd = (): void => {
    socket.end();
  };
  stdin.on("data", onData).once("end", onEnd).once("error", onEnd);
  stdin.resume();
  const stop = (): void => {
    stdin.off("data", onData).off("end", onEnd).off("error", onEnd);
    stdin.pause();
    // A file as standard input is no socket: it has no unref, and keeps nothing alive.
    if ("unref" in stdin && typeof stdin.unref === "function") stdin.unref();
  };
  // Nobody listens any more: input that comes now is not this session's.
  socket.once("close", () => {
    stdin.pause();
  });
  return stop;
}
