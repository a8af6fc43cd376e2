/** Our registry as a process of its own: on a free port, with a root that it may find again. */
import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkout } from "./clients.ts";
import { type Companion, start, until } from "./process.ts";

/** A registry that belongs to a test. Use `await using`: it takes its folder along. */
export interface TugRegistry {
  /** As it stands in references: "127.0.0.1:41237". */
  readonly host: string;
  readonly url: string;
  readonly folder: string;
  readonly root: string;
  readonly pid: number;
  log(): string;
  /** Ends it at once. */
  kill9(): Promise<void>;
  /** Asks it to stop. @returns its exit code */
  stop(): Promise<number>;
  /** Starts it again on the same root, at the same address. */
  restart(flags?: readonly string[]): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** The argv of `tug` for registry commands: the executable under test, or the sources. */
export function tugArgv(...args: readonly string[]): readonly string[] {
  const executable = process.env["TUG_TEST_EXECUTABLE"];
  const source = [process.execPath, join(checkout, "src/main.ts")];
  return [...(executable === undefined ? source : [executable]), ...args];
}

/** Starts a registry and waits until it listens. */
export async function startTugRegistry(
  options: {
    readonly flags?: readonly string[];
    readonly scheme?: "http" | "https";
    readonly root?: string;
    /** The file of a network namespace to serve in. */
    readonly netns?: string;
  } = {},
): Promise<TugRegistry> {
  const folder = mkdtempSync(join(tmpdir(), "tug-reg-"));
  const root = options.root ?? join(folder, "root");
  const listening = /registry listens" host=\S+ port=(\d+)/;
  const launch = async (port: number, flags: readonly string[]): Promise<Companion> => {
    const address = ["--listen", `127.0.0.1:${port}`];
    const serve = tugArgv("registry", "serve", "--root", root, ...address, ...flags);
    const { netns } = options;
    const made = start([...(netns === undefined ? [] : ["nsenter", `--net=${netns}`]), ...serve]);
    let endedWith: number | undefined;
    void made.exited.then((code) => {
      endedWith = code;
    });
    await until(
      () => {
        if (endedWith !== undefined) assert.fail(`it ended with ${endedWith}: ${made.stderr}`);
        return listening.test(made.stderr);
      },
      () => `the registry to listen; it said ${made.stderr}`,
      20_000,
    );
    return made;
  };
  let child = await launch(0, options.flags ?? []);
  const port = Number(listening.exec(child.stderr)?.[1]);
  const host = `127.0.0.1:${port}`;
  return {
    host,
    url: `${options.scheme ?? "http"}://${host}`,
    folder,
    root,
    get pid() {
      return child.pid;
    },
    log: () => child.stderr,
    async kill9() {
      child.kill("SIGKILL");
      await child.exited;
    },
    async stop() {
      child.kill("SIGTERM");
      return await child.exited;
    },
    async restart(flags = options.flags ?? []) {
      child = await launch(port, flags);
    },
    async [Symbol.asyncDispose]() {
      await child[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
