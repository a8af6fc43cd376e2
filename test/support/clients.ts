/** The command line clients that a test is run with. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  type Companion,
  describeResult,
  inTerminal,
  type Result,
  run,
  type RunOptions,
  start,
} from "./process.ts";

/** The folder of the checkout. */
export const checkout: string = join(import.meta.dir, "../..");

/** The executable under test. @throws an assertion error when it is not built */
export function tugExecutable(): string {
  const path = process.env["TUG_TEST_EXECUTABLE"] ?? join(checkout, "dist/tug");
  if (!existsSync(path)) assert.fail(`${path} is not there: build it first, npm run build`);
  return path;
}

/** Which command line client. */
export type ClientName = "docker" | "tug";

/** The clients that are here; a missing docker CLI is said once. */
export const clientNames: readonly ClientName[] = ((): readonly ClientName[] => {
  const wanted = process.env["TUG_TEST_CLIENTS"]?.split(",");
  const has: Readonly<Record<ClientName, boolean>> = {
    docker: Bun.which("docker") !== null,
    tug: true,
  };
  if (!has.docker) console.warn("skipped with docker: there is no docker CLI on the path");
  const names: readonly ClientName[] = ["docker", "tug"];
  return names.filter((name) => has[name] && (wanted === undefined || wanted.includes(name)));
})();

/** A command line client of one engine. */
export interface Client {
  readonly name: ClientName;
  /** Runs a command to its end. */
  run(args: readonly string[], options?: RunOptions): Promise<Result>;
  /** Runs a command that must succeed. @returns what it printed, without the last line's end */
  ok(...args: readonly string[]): Promise<string>;
  /** Runs a command that must fail. @returns all it printed, stderr last */
  fails(...args: readonly string[]): Promise<string>;
  /** Runs a command in a terminal; `input` is typed, `before` is a shell's line run there first. */
  terminal(
    args: readonly string[],
    options?: RunOptions & { readonly before?: string },
  ): Promise<Result>;
  /** Starts a command beside the test. */
  start(args: readonly string[], options?: RunOptions & { readonly tty?: boolean }): Companion;
}

/** Makes a client that talks to a host, with a home folder of its own. */
export function openClient(
  name: ClientName,
  engine: { readonly host: string; readonly home: string },
): Client {
  const program = name === "docker" ? "docker" : tugExecutable();
  const env = {
    DOCKER_HOST: engine.host,
    DOCKER_CONFIG: join(engine.home, "client"),
    HOME: engine.home,
    DOCKER_CLI_HINTS: "false",
    TERM: "xterm",
  };
  const withEnv = (options: RunOptions): RunOptions => ({
    ...options,
    env: { ...env, ...options.env },
  });
  const client: Client = {
    name,
    run: async (args, options = {}) => await run([program, ...args], withEnv(options)),
    async ok(...args) {
      const result = await client.run(args);
      if (result.exitCode !== 0) assert.fail(describeResult([name, ...args], result));
      return result.stdout.replace(/\n$/, "");
    },
    async fails(...args) {
      const result = await client.run(args);
      if (result.exitCode === 0) assert.fail(describeResult([name, ...args], result));
      return `${result.stdout}${result.stderr}`;
    },
    terminal: async (args, { before, ...options } = {}) => {
      const shell = ["sh", "-c", `${before}; exec "$@"`, "sh"];
      const argv = before === undefined ? [program, ...args] : [...shell, program, ...args];
      return await run(inTerminal(argv), withEnv(options));
    },
    start: (args, { tty, ...options } = {}) =>
      start(tty === true ? inTerminal([program, ...args]) : [program, ...args], withEnv(options)),
  };
  return client;
}
