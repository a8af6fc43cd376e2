/** One binary: picks what to be by its first word, and loads only that. */
import { compileReadily } from "./sys/process/jit.ts";

const [word = "", ...rest] = process.argv.slice(2);

async function main(): Promise<number> {
  switch (word) {
    case "daemon":
      return (await lasting(import("./daemon/daemon-main.ts"))).daemonMain(rest);
    case "registry":
      return (await lasting(import("./registry/registry-main.ts"))).registryMain(rest);
    case "shim":
      return (await lasting(import("./runtime/shim/shim-main.ts"))).shimMain(rest);
    case "unpack":
      return (await lasting(import("./snapshot/unpack/unpack-main.ts"))).unpackMain(rest);
    case "layer-diff":
      return (await lasting(import("./snapshot/diff/diff-main.ts"))).diffMain(rest);
    case "copy":
      return (await lasting(import("./build/copy/copy-main.ts"))).copyMain(rest);
    case "seccomp":
      return (await lasting(import("./runtime/seccomp/seccomp-main.ts"))).seccompMain();
    default:
      return (await import("./cli/cli.ts")).cliMain(process.argv.slice(2));
  }
}

/** All but the command line do the same thing many times. */
function lasting<T>(program: Promise<T>): Promise<T> {
  compileReadily();
  return program;
}

process.exitCode = await main();
