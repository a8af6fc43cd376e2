/** The program `tug shim <directory>`: see `shim-protocol.ts` for what it does. */
import { closeSync, rmSync } from "node:fs";
import { openNamespace, unshareNetwork } from "../../sys/namespace.ts";
import { becomeSubreaper, redirectOutput } from "../../sys/process/process.ts";
import { join } from "node:path";
import { watchOrphans } from "./_orphans.ts";
import { setLoopbackUp } from "../sandbox/sandbox.ts";
import { ShimServer, type ShimServerOptions } from "./_shim-server.ts";
import { ShimTerm } from "./_shim-term.ts";
import { warmProcessStart } from "./_shim-process.ts";

/** A connection that nobody answers would keep the process for two minutes after its work. */
const endMaxMs = 1000;

/**
 * Runs a shim until its container has ended and no other is for it, or nobody wants it.
 *
 * @param argv the directory of its first term: it exists, and is the shim's alone
 * @returns the exit code
 */
export async function shimMain(argv: readonly string[]): Promise<number> {
  const [directory] = argv;
  if (directory === undefined || argv.length !== 1) return 2;
  process.chdir("/");
  becomeSubreaper();
  const hostNetworkFd = openNamespace("/proc/thread-self/ns/net");
  openSandbox();
  warmProcessStart();
  watchOrphans();
  // Ending is the container's business, not that of a terminal or a session.
  for (const signal of ["SIGHUP", "SIGINT", "SIGTERM", "SIGPIPE"] as const) {
    process.on(signal, () => undefined);
  }
  let server: ShimServer | undefined;
  const serve = (options: ShimServerOptions): ShimServer => {
    server?.moveTo(options);
    server ??= new ShimServer(options);
    return server;
  };
  const over = Promise.withResolvers<void>();
  const begin = (of: string): void => {
    new ShimTerm({
      directory: of,
      hostNetworkFd,
      serve,
      renew: (next) => {
        openSandbox();
        redirectOutput(join(next, "shim.log"));
        begin(next);
      },
      onEnd: ({ removesDirectory }) => {
        if (removesDirectory) rmSync(of, { recursive: true, force: true });
        closeSync(hostNetworkFd);
        over.resolve();
      },
    });
  };
  begin(directory);
  await over.promise;
  setTimeout(() => process.exit(0), endMaxMs).unref();
  return 0;
}

/** Leaves the network namespace there is for a new one. */
function openSandbox(): void {
  unshareNetwork();
  setLoopbackUp();
}

if (import.meta.main) process.exit(await shimMain(process.argv.slice(2)));
