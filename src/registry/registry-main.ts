/**
 * `tug registry`: serves a registry, collects its garbage, makes lines of users.
 *
 * SIGHUP reads certificates and access rules again (users are read again when their file changes).
 * SIGTERM and SIGINT stop cleanly: open requests get a while; a second one ends at once.
 */
import { request as httpRequest } from "node:http";
import { codeOf, EngineError, isKind, messageOf } from "../lib/errors.ts";
import { parseFlags } from "../lib/flags.ts";
import { createLogger, type Logger } from "../lib/log.ts";
import { readHiddenLine } from "../sys/hidden-line.ts";
import { hashPassword } from "../sys/password.ts";
import { logFaults, untilStopped } from "../sys/service.ts";
import { controlPath, openRoot } from "./_root.ts";
import { type GcConfig, parseGc, parseServe, type ServeConfig } from "./config.ts";
import { commandHelp, describeCollection, registryHelp } from "./help.ts";
import { openRegistry } from "./storage/local-registry.ts";
import { gcFlags, htpasswdFlags, serveFlags } from "./options.ts";

/** Bytes of an answer of the control socket. */
const answerMaxBytes = 64 * 1024;

/** Runs `tug registry`; resolves with its exit code. */
export async function registryMain(args: readonly string[]): Promise<number> {
  const [word = "", ...rest] = args;
  try {
    switch (word) {
      case "serve":
        return await serve(rest);
      case "gc":
        return await collect(rest);
      case "htpasswd":
        return await printUser(rest);
      case "":
      case "help":
      case "-h":
      case "--help":
        process.stdout.write(registryHelp());
        return 0;
      default:
        throw usage(`unknown command: ${JSON.stringify(word)}`);
    }
  } catch (error) {
    process.stderr.write(`tug registry: ${describe(error, word)}\n`);
    return 1;
  }
}

async function serve(args: readonly string[]): Promise<number> {
  const parsed = parseServe(args);
  if (parsed.action === "help") {
    const about = { usage: "serve [OPTIONS]", help: "Serve a registry." };
    process.stdout.write(commandHelp(about, serveFlags));
    return 0;
  }
  const { config } = parsed;
  const logger = loggerOf(config);
  logFaults(logger);
  const { serveRegistry } = await import("./serve.ts");
  const registry = await serveRegistry(config, { logger });
  process.on("SIGHUP", () => {
    try {
      registry.reload();
    } catch (error) {
      logger.error("not reloaded: what was there stays", { error });
    }
  });
  process.exit(await untilStopped({ logger, stop: async () => await registry.stop() }));
}

function loggerOf({ logLevel, logFormat }: Pick<ServeConfig, "logLevel" | "logFormat">): Logger {
  return createLogger({
    level: () => logLevel,
    format: logFormat,
    write: (line) => process.stderr.write(`${line}\n`),
  });
}

async function collect(args: readonly string[]): Promise<number> {
  const parsed = parseGc(args);
  if (parsed.action === "help") {
    const help =
      "Remove what no manifest names. A registry that is served is asked to do it, with its own options.";
    process.stdout.write(commandHelp({ usage: "gc [OPTIONS]", help }, gcFlags));
    return 0;
  }
  process.stdout.write((await collectHere(parsed.config)) ?? (await collectThere(parsed.config)));
  return 0;
}

/** Collects in this process; undefined when another has the root. */
async function collectHere(config: GcConfig): Promise<string | undefined> {
  const logger = loggerOf({ logLevel: "warn", logFormat: "text" });
  try {
    using root = await openRoot(config.root, { logger, mustExist: true });
    await using registry = await openRegistry({
      content: root.content,
      metadata: root.metadata,
      logger,
      graceMs: config.graceMs,
      // Nothing came while nobody served: a hold ends when its record is old enough.
      isServing: false,
      uploadExpiryMs: Number.MAX_SAFE_INTEGER,
      removesUntagged: config.removesUntagged,
    });
    return describeCollection(await registry.collect());
  } catch (error) {
    if (isKind(error, "conflict") && error.details["code"] === "ROOT_LOCKED") return undefined;
    throw error;
  }
}

/** Asks the process that serves the root; its answer is what is to be printed. */
async function collectThere(config: GcConfig): Promise<string> {
  const { status, text } = await post(controlPath(config.root), "/gc");
  if (status !== 200) throw new EngineError("unavailable", text || `gc: answered ${status}`);
  return text;
}

async function post(
  socketPath: string,
  path: string,
): Promise<{ readonly status: number; readonly text: string }> {
  return await new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, path, method: "POST" }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
        if (text.length > answerMaxBytes) response.destroy();
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      response.on("error", reject);
    });
    request.on("error", (error) =>
      reject(new EngineError("unavailable", `ask ${socketPath}: ${error.message}`)),
    );
    request.end();
  });
}

async function printUser(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args, htpasswdFlags);
  const [user, ...others] = flags.operands;
  if (flags.switches.get("help") === true) {
    const help =
      "Print the line of a user for --htpasswd; the password is read from stdin, or asked for.";
    process.stdout.write(commandHelp({ usage: "htpasswd USER", help }, htpasswdFlags));
    return 0;
  }
  if (user === undefined || others.length > 0 || !/^[^:\s]{1,255}$/.test(user)) {
    throw usage("htpasswd: one user's name is wanted, without colons and spaces");
  }
  const password = await readPassword();
  if (password === "" || Buffer.byteLength(password) > 72) {
    throw usage("htpasswd: a password of 1 to 72 bytes is wanted on stdin");
  }
  process.stdout.write(`${user}:${await hashPassword(password)}\n`);
  return 0;
}

/** The whole of standard input, or what is typed at a terminal, twice and unseen. */
async function readPassword(): Promise<string> {
  if (!process.stdin.isTTY) {
    let text = "";
    for await (const chunk of process.stdin) text += String(chunk);
    return text.replace(/\r?\n$/, "");
  }
  const [first, second] = [await ask("Password: "), await ask("Again: ")];
  if (first !== second) throw usage("htpasswd: the two passwords are not the same");
  return first;
}

async function ask(question: string): Promise<string> {
  process.stderr.write(question);
  try {
    return await readHiddenLine();
  } finally {
    process.stderr.write("\n");
  }
}

function describe(error: unknown, word: string): string {
  if (isKind(error) && error.details["isUsage"] === true) {
    const command = ["serve", "gc", "htpasswd"].includes(word) ? ` ${word}` : "";
    return `${error.message}\nSee 'tug registry${command} --help'.`;
  }
  // What the system refuses is told in its words; a stack is for a fault of ours.
  const isTold = error instanceof EngineError || codeOf(error) !== undefined;
  return isTold || !(error instanceof Error) ? messageOf(error) : (error.stack ?? error.message);
}

function usage(sentence: string): EngineError {
  return new EngineError("invalid-argument", sentence, { details: { isUsage: true } });
}
