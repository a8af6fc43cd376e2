/** One binary: picks what to be by its first word, and loads only that. */
const [word = "", ...rest] = process.argv.slice(2);

async function main(): Promise<number> {
  switch (word) {
    case "daemon":
      return (await import("./daemon/daemon-main.ts")).daemonMain(rest);
    case "registry":
      return (await import("./registry/registry-main.ts")).registryMain(rest);
    case "shim":
      return (await import("./runtime/shim/shim-main.ts")).shimMain(rest);
    case "unpack":
      return (await import("./snapshot/unpack/unpack-main.ts")).unpackMain(rest);
    case "layer-diff":
      return (await import("./snapshot/diff/diff-main.ts")).diffMain(rest);
    case "copy":
      return (await import("./build/copy/copy-main.ts")).copyMain(rest);
    case "seccomp":
      return (await import("./runtime/seccomp/seccomp-main.ts")).seccompMain();
    default:
      return (await import("./cli/cli.ts")).cliMain(process.argv.slice(2));
  }
}

process.exitCode = await main();
