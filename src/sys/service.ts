/** What programs that serve until they are told to stop have in common. */
import type { Logger } from "../lib/log.ts";

/** Has faults that nobody has caught logged; the process goes on. */
export function logFaults(logger: Logger): void {
  process.on("uncaughtException", (error) =>
    logger.error("uncaught", { error, stack: error.stack }),
  );
  process.on("unhandledRejection", (error) => {
    const stack = error instanceof Error ? error.stack : undefined;
    logger.error("unhandled rejection", { error, stack });
  });
}

/**
 * Waits for SIGTERM or SIGINT and stops; a second one ends at once.
 *
 * @returns the exit code: 0 after a clean stop
 */
export async function untilStopped(options: {
  readonly logger: Logger;
  readonly stop: () => Promise<void>;
}): Promise<number> {
  const { logger } = options;
  const stopped = Promise.withResolvers<number>();
  let isStopping = false;
  const stop = (signal: string): void => {
    logger.info("stopping", { signal });
    if (isStopping) {
      stopped.resolve(1);
      return;
    }
    isStopping = true;
    options.stop().then(
      () => stopped.resolve(0),
      (error: unknown) => {
        logger.error("did not stop cleanly", { error });
        stopped.resolve(1);
      },
    );
  };
  process.on("SIGTERM", () => stop("SIGTERM"));
  process.on("SIGINT", () => stop("SIGINT"));
  return await stopped.promise;
}
