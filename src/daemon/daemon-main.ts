/**
 * `tug daemon`: reads the configuration, runs the daemon until it is told to stop.
 *
 * SIGHUP reads the configuration again, SIGTERM and SIGINT stop cleanly; a second one ends at once.
 */
import { readFileSync } from "node:fs";
import { codeOf, EngineError, isKind, messageOf } from "../lib/errors.ts";
import { createLogger, type Logger, type LogLevel } from "../lib/log.ts";
import { answerFirst } from "../sys/process/priority.ts";
import { logFaults, untilStopped } from "../sys/service.ts";
import { type DaemonConfig, parseConfigFile, parseDaemonCommand, resolveConfig } from "./config.ts";
import type { DaemonCommand } from "./config.ts";
import { daemonHelp } from "./help.ts";
import { commandFlags, daemonOptions } from "./options.ts";

/** Runs the daemon; resolves with its exit code. */
export async function daemonMain(args: readonly string[]): Promise<number> {
  try {
    const command = parseDaemonCommand(args);
    switch (command.action) {
      case "help":
        process.stdout.write(
          daemonHelp([...daemonOptions.map(({ flag }) => flag), ...commandFlags]),
        );
        return 0;
      case "version": {
        const { tugVersion } = await import("./version.ts");
        process.stdout.write(`Tug version ${tugVersion}\n`);
        return 0;
      }
      case "validate":
        readConfig(command);
        process.stdout.write("configuration OK\n");
        return 0;
      case "run":
        return await run(command);
    }
  } catch (error) {
    process.stderr.write(`tug daemon: ${describe(error)}\n`);
    return 1;
  }
}

function describe(error: unknown): string {
  if (isKind(error) && error.details["isUsage"] === true) {
    return `${error.message}\nSee 'tug daemon --help'.`;
  }
  return error instanceof EngineError || !(error instanceof Error)
    ? messageOf(error)
    : (error.stack ?? error.message);
}

function readConfig(command: DaemonCommand): DaemonConfig {
  let text = "";
  try {
    text = readFileSync(command.configPath, "utf8");
  } catch (error) {
    if (codeOf(error) !== "ENOENT" || command.isConfigNamed) {
      throw new EngineError(
        "invalid-argument",
        `unable to configure the daemon with file ${command.configPath}: ${messageOf(error)}`,
        { cause: error },
      );
    }
  }
  return resolveConfig(parseConfigFile(text, command.configPath), command.given);
}

async function run(command: DaemonCommand): Promise<number> {
  const config = readConfig(command);
  let level: LogLevel = config.logLevel;
  const logger = createLogger({
    level: () => level,
    format: config.logFormat,
    write: (line) => process.stderr.write(`${line}\n`),
  });
  logFaults(logger);
  logger.debug("priority of the thread that answers", { isLifted: answerFirst() });
  const { startDaemon } = await import("./daemon.ts");
  const daemon = await startDaemon({ config, logger });
  process.on("SIGHUP", () => {
    reload(command, {
      logger,
      apply: (next) => {
        level = next.logLevel;
        daemon.reload(next);
      },
    });
  });
  process.exit(await untilStopped({ logger, stop: async () => await daemon.stop() }));
}

function reload(
  command: DaemonCommand,
  options: { readonly logger: Logger; readonly apply: (config: DaemonConfig) => void },
): void {
  try {
    options.apply(readConfig(command));
    options.logger.info("configuration reloaded", { file: command.configPath });
  } catch (error) {
    options.logger.error("configuration not reloaded: the old one stays", { error });
  }
}
