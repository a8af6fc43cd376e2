import { authenticate } from "../../client/system.ts";
import { EngineError } from "../../lib/errors.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { between, type Command, type Invocation } from "../command.ts";
import { textFlag, switchFlag } from "../flag/flags.ts";
import { isInputTerminal, readStandardInput } from "../standard-input.ts";
import { askHidden, askLine } from "./ask.ts";
import {
  findCredentials,
  indexServer,
  serverOf,
  storeCredentials,
  warnOfVariable,
} from "./credentials.ts";

/** A password that is longer is none. */
const passwordMaxBytes = 64 * 1024;

/** Keeps credentials for a registry, once the registry has taken them. */
export const command: Command = {
  usage: "[OPTIONS] [SERVER]",
  operands: between(0, 1),
  flags: [
    textFlag("password", "Password or Personal Access Token (PAT)", { short: "p" }),
    switchFlag("password-stdin", "Take the Password or Personal Access Token (PAT) from stdin"),
    textFlag("username", "Username", { short: "u" }),
  ],
  details: "Defaults to Docker Hub if no server is specified.",
  completes: "none",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { operands, output, engine, environment } = invocation;
  const server = serverOf(hostOf(operands[0] ?? ""));
  const { isKnown = false, ...credentials } = await ask(invocation, server);
  const answer = await authenticate(await engine(), { ...credentials, serveraddress: server });
  const { IdentityToken: token = "" } = answer;
  const path = await storeCredentials(environment, {
    ...credentials,
    serveraddress: server,
    ...(token === "" ? {} : { identitytoken: token }),
  });
  if (path !== undefined && !isKnown) {
    output.err(
      `\nWARNING! Your credentials are stored unencrypted in '${path}'.\n` +
        "Configure a credential helper to remove this warning. See\n" +
        "https://docs.docker.com/go/credential-store/\n\n",
    );
  }
  warnOfVariable(environment, output);
  output.out(`${escapeControls(answer.Status)}\n`);
  return 0;
}

function hostOf(operand: string): string {
  const host = operand.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return operand === "" || operand === indexServer ? "docker.io" : host;
}

interface Asked {
  readonly username: string;
  readonly password: string;
  /** They were kept already. */
  readonly isKnown?: boolean;
}

/** From flags, standard input, the terminal, or what is kept already, in this order. */
async function ask({ flags, output, environment }: Invocation, server: string): Promise<Asked> {
  const username = flags.text("username");
  const isFromInput = flags.isOn("password-stdin");
  if (flags.isGiven("password")) {
    if (isFromInput) {
      throw new EngineError(
        "invalid-argument",
        "conflicting options: cannot specify both --password and --password-stdin",
      );
    }
    if (flags.isGiven("username") && username === "") {
      throw new EngineError("invalid-argument", "username is empty");
    }
    if (flags.text("password") === "") {
      throw new EngineError("invalid-argument", "password is empty");
    }
    output.err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
    if (username !== "") return { username, password: flags.text("password") };
  }
  if (isFromInput) {
    if (username === "") {
      throw new EngineError(
        "invalid-argument",
        "the --password-stdin option requires --username to be set",
      );
    }
    return { username, password: await readPassword() };
  }
  const known = username === "" ? await findCredentials(environment, server) : undefined;
  if (known?.username !== undefined && known.password !== undefined) {
    output.out(
      `Authenticating with existing credentials... [Username: ${escapeControls(known.username)}]\n\n` +
        ` Info -> To login with a different account, run 'tug logout' followed by 'tug login'\n\n\n`,
    );
    return { username: known.username, password: known.password, isKnown: true };
  }
  return await askTerminal({ username, password: flags.text("password"), output });
}

async function readPassword(): Promise<string> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const part of readStandardInput()) {
    sizeBytes += part.length;
    if (sizeBytes > passwordMaxBytes) {
      throw new EngineError("invalid-argument", "the password on standard input is too long");
    }
    parts.push(part);
  }
  const password = Buffer.concat(parts)
    .toString("utf8")
    .replace(/\r?\n$/, "");
  if (password === "") throw new EngineError("invalid-argument", "password is empty");
  return password;
}

async function askTerminal(options: {
  readonly username: string;
  readonly password: string;
  readonly output: Invocation["output"];
}): Promise<{ readonly username: string; readonly password: string }> {
  if (!isInputTerminal()) {
    throw new EngineError(
      "invalid-argument",
      "Error: Cannot perform an interactive login from a non TTY device",
    );
  }
  const { output } = options;
  const username =
    options.username === "" ? (await askLine("Username: ", output)).trim() : options.username;
  if (username === "") throw new EngineError("invalid-argument", "username is required");
  const password =
    options.password === "" ? await askHidden("Password: ", output) : options.password;
  if (password === "") throw new EngineError("invalid-argument", "password is required");
  return { username, password };
}
