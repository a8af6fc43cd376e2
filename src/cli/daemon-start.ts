/** Starts the daemon when none answers at the default socket. */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Transport } from "../client/transport.ts";
import { EngineError, isKind } from "../lib/errors.ts";
import type { Output } from "./output.ts";

/** Where a daemon that was started on demand writes its log. */
export const daemonLogPath = "/var/log/tug.log";
/** Longest wait for its socket. */
const startTimeoutMs = 10_000;
const pollMs = 15;

/**
 * Starts a daemon and waits until it answers. When several are started at once, one holds the data
 * root's lock and the others end; all callers then find that one.
 */
export async function startDaemon(transport: Transport, output: Output): Promise<void> {
  output.err(`tug: starting the daemon, log in ${daemonLogPath}\n`);
  const exited = spawnDaemon();
  const deadlineMs = performance.now() + startTimeoutMs;
  while (performance.now() < deadlineMs) {
    if (await answers(transport)) return;
    await Promise.race([sleep(pollMs), exited]);
    if (await isSettled(exited)) {
      // It has given up, or another one was first: that one answers soon.
      await sleep(pollMs * 10);
    }
  }
  throw new EngineError(
    "unavailable",
    `start the daemon: no answer within ${startTimeoutMs / 1000} s, see ${daemonLogPath}`,
  );
}

function spawnDaemon(): Promise<void> {
  mkdirSync(dirname(daemonLogPath), { recursive: true });
  const log = openSync(daemonLogPath, "a", 0o640);
  const script = process.argv[1] ?? "";
  const isCompiled = script === "" || script.startsWith("/$bunfs");
  const argv = [...(isCompiled ? [] : [script]), "daemon"];
  const child = spawn(process.execPath, argv, {
    detached: true,
    cwd: "/",
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  child.unref();
  return new Promise((resolve) => {
    child.once("exit", () => {
      resolve();
    });
    child.once("error", () => {
      resolve();
    });
  });
}

async function answers(transport: Transport): Promise<boolean> {
  try {
    await transport.text("GET /_ping");
    return true;
  } catch (error) {
    if (isKind(error)) return false;
    throw error;
  }
}

async function isSettled(promise: Promise<void>): Promise<boolean> {
  const pending = Symbol("pending");
  return (
    (await Promise.race([promise.then(() => undefined), Promise.resolve(pending)])) !== pending
  );
}
