/** `tug`: reads global flags, finds the command in the table, runs it, says what went wrong. */
import { openTransport, type Transport } from "../client/transport.ts";
import { EngineError, isKind, messageOf } from "../lib/errors.ts";
import { type FlagDefinition, type ParsedFlags, parseFlags } from "../lib/flags.ts";
import type { Command } from "./command.ts";
import { type CommandEntry, findCommand } from "./commands.ts";
import { chooseEngine } from "./engine-choice.ts";
import { type Environment, nonEmpty, openEnvironment } from "./environment.ts";
import { brokenPipeCode, describeFailure, exitCodeOf, failureCode } from "./errors.ts";
import { FlagReader } from "./flag/flag-reader.ts";
import { withHints } from "./help/hints.ts";
import { globalFlags } from "./flag/global-flags.ts";
import { isBrokenPipe, type Output, processOutput } from "./output.ts";
import { connectUnix } from "../sys/net/unix-connection.ts";

const helpFlag: FlagDefinition = {
  name: "help",
  kind: "switch",
  help: "Print usage",
  isHidden: true,
};
const shortHelpFlag: FlagDefinition = { ...helpFlag, short: "h" };

/**
 * Runs one command line.
 *
 * @param args what follows the program's name
 * @returns the exit code
 */
export async function cliMain(args: string[]): Promise<number> {
  const output = processOutput();
  try {
    return await dispatch(args, output);
  } catch (error) {
    if (isBrokenPipe(error)) return brokenPipeCode;
    output.err(`${describeFailure(error)}\n`);
    return exitCodeOf(error);
  }
}

async function dispatch(args: readonly string[], output: Output): Promise<number> {
  let globals: ParsedFlags;
  try {
    globals = parseFlags(args, [...globalFlags, { ...shortHelpFlag }], { stopsAtOperand: true });
  } catch (error) {
    const { explainUsage } = await import("./help/usage.ts");
    output.err(explainUsage(error, { flags: globalFlags }));
    return exitCodeOf(error);
  }
  if (globals.switches.get("version") === true) {
    const { printShortVersion } = await import("./system/short-version.ts");
    return printShortVersion(output);
  }
  const environment = openEnvironment(globalsOf(globals));
  const words = globals.operands;
  if (words.length === 0) {
    const { renderTopHelp } = await import("./help/usage.ts");
    output.out(await renderTopHelp(output.columns));
    return 0;
  }
  return runWords(words, { output, environment, asksHelp: globals.switches.get("help") === true });
}

interface Surroundings {
  readonly output: Output;
  readonly environment: Environment;
  readonly asksHelp: boolean;
}

async function runWords(words: readonly string[], around: Surroundings): Promise<number> {
  const [first = "", ...others] = words;
  if (first === "help") {
    if (others.length === 0) return dispatch([], around.output);
    return runWords(others, { ...around, asksHelp: true });
  }
  if (first === "__complete") {
    const { complete } = await import("./completion/complete.ts");
    const { environment, output } = around;
    const typed = others[0] === "--" ? others.slice(1) : others;
    return complete(typed, { environment, output, engine: () => openEngine(environment, output) });
  }
  const found = findCommand(words);
  if (found.kind === "command") {
    const { command } = await found.entry.load();
    const called = { entry: found.entry, name: `tug ${found.name}` };
    return runCommand(command, { ...around, ...called, args: found.rest });
  }
  const { explainMissing } = await import("./help/usage.ts");
  const { text, exitCode } = explainMissing(found, {
    asksHelp: around.asksHelp,
    isHelpTopic: around.asksHelp,
    columns: around.output.columns,
  });
  if (exitCode === 0) around.output.out(text);
  else around.output.err(text);
  return exitCode;
}

interface Called extends Surroundings {
  readonly entry: CommandEntry;
  readonly name: string;
  readonly args: readonly string[];
}

async function runCommand(command: Command, called: Called): Promise<number> {
  const { output, environment, name, entry } = called;
  const help = { command, name, entry };
  const isShortTaken = command.flags.some((flag) => flag.short === "h");
  const flags = [...command.flags, isShortTaken ? helpFlag : shortHelpFlag];
  try {
    const parsed = parseFlags(called.args, flags, {
      stopsAtOperand: command.stopsAtOperand === true,
    });
    if (called.asksHelp || parsed.switches.get("help") === true) {
      const { renderHelp } = await import("./help/usage.ts");
      output.out(renderHelp(help, output.columns));
      return 0;
    }
    const { length } = parsed.operands;
    if (length < command.operands.min || length > command.operands.max) {
      const { explainOperands } = await import("./help/usage.ts");
      output.err(explainOperands(help));
      return failureCode;
    }
    return await command.run({
      operands: parsed.operands,
      flags: new FlagReader(parsed, flags),
      output,
      environment,
      name,
      engine: () => openEngine(environment, output),
    });
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    if (error.details["isUsage"] === true) {
      const { explainUsage } = await import("./help/usage.ts");
      output.err(explainUsage(error, { ...help, flags }));
      return exitCodeOf(error);
    }
    if (error.details["hintsAtHelp"] !== true) throw error;
    output.err(`tug: ${describeFailure(error)}\n\nRun '${name} --help' for more information\n`);
    return exitCodeOf(error);
  }
}

async function openEngine(environment: Environment, output: Output): Promise<Transport> {
  const { endpoint, isDefault } = await chooseEngine(environment).catch((error: unknown) => {
    if (!(error instanceof EngineError) || environment.flags.hosts.length < 2) throw error;
    throw new EngineError(error.kind, `Failed to initialize: ${messageOf(error)}`, {
      cause: error,
    });
  });
  const version = nonEmpty(environment.variables["DOCKER_API_VERSION"])?.replace(/^v/, "");
  const transport = withHints(
    openTransport(endpoint, { connectUnix, ...(version === undefined ? {} : { version }) }),
  );
  if (!isDefault || endpoint.kind !== "unix") return transport;
  return onDemand(transport, output);
}

/** A request that reaches no daemon starts one and is sent again, once. */
function onDemand(transport: Transport, output: Output): Transport {
  let isStarted = false;
  const attempt = async <T>(call: () => Promise<T>): Promise<T> => {
    try {
      return await call();
    } catch (error) {
      const isAbsent = isKind(error, "unavailable") && error.details["isConnect"] === true;
      if (!isAbsent || isStarted || process.getuid?.() !== 0) throw error;
      isStarted = true;
      const { startDaemon } = await import("./daemon-start.ts");
      await startDaemon(transport, output);
      return call();
    }
  };
  return {
    endpoint: transport.endpoint,
    get version() {
      return transport.version;
    },
    json: (target, options) => attempt(() => transport.json(target, options)),
    text: (target, options) => attempt(() => transport.text(target, options)),
    send: (target, options) => attempt(() => transport.send(target, options)),
    stream: (target, options) => attempt(() => transport.stream(target, options)),
    hijack: (target, options) => attempt(() => transport.hijack(target, options)),
  };
}

function globalsOf(parsed: ParsedFlags): Environment["flags"] {
  const text = (name: string): string | undefined => parsed.values.get(name)?.at(-1);
  const pick = (key: string, name: string): Record<string, string> => {
    const value = text(name);
    return value === undefined ? {} : { [key]: value };
  };
  const verified = parsed.switches.get("tlsverify");
  return {
    hosts: parsed.values.get("host") ?? [],
    isTls: parsed.switches.get("tls") ?? false,
    isDebug: parsed.switches.get("debug") ?? false,
    ...(verified === undefined ? {} : { isTlsVerified: verified }),
    ...pick("configDir", "config"),
    ...pick("context", "context"),
    ...pick("caFile", "tlscacert"),
    ...pick("certFile", "tlscert"),
    ...pick("keyFile", "tlskey"),
  };
}
