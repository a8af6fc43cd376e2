import { writeFileSync } from "node:fs";
import { openBuildSession } from "../../client/session/build-session.ts";
import { openBuildConnection } from "../../client/session/solve.ts";
import type { Transport } from "../../client/transport.ts";
import { isKind } from "../../lib/errors.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { findUsableCredentials, serverOf } from "../registry/credentials.ts";
import { type BuildContext, openBuildContext } from "./build-context.ts";
import { debugFailure } from "./debug-shell.ts";
import { describeBuildFailure } from "./build-failure.ts";
import { buildFlags } from "./build-flags.ts";
import { type BuildOutputs, readBuildOutputs } from "./build-outputs.ts";
import { type BuildStores, noStores } from "./build-stores.ts";
import { readSecrets, readSshAgents } from "./build-secrets.ts";
import type { BuildProgress } from "./build-progress.ts";
import { choosePlace } from "./choose-progress.ts";
import { formatExplanations, formatSteps } from "./explanations.ts";
import { callOf, readSolveFlags } from "./solve-request.ts";
import { formatWarnings } from "./warnings.ts";

/** Builds an image. */
export const command: Command = {
  usage: "[OPTIONS] PATH | URL | -",
  operands: exactly(1),
  flags: buildFlags,
  completes: "none",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { operands, flags, output } = invocation;
  const stores = noStores();
  const outputs = readBuildOutputs(flags, output, stores);
  using context = await openBuildContext(operands[0] ?? "", flags.text("file"));
  const progress = choosePlace(invocation);
  const interrupt = new AbortController();
  const stop = (): void => interrupt.abort();
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    const { signal } = interrupt;
    const made = await build(invocation, { context, outputs, stores, progress, signal });
    if (made === undefined) return 1;
    for (const conclude of stores.conclude) conclude(made);
    progress.close();
    tell(invocation, { made, progress });
    tellExplanations(invocation, progress);
    return exitCodeOf(made);
  } catch (error) {
    if (!isKind(error)) {
      progress.close();
      throw error;
    }
    tellFailure(invocation, { error, progress });
    return 1;
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

interface Parts {
  readonly context: BuildContext;
  readonly outputs: BuildOutputs;
  readonly stores: BuildStores;
  readonly progress: BuildProgress;
  readonly signal: AbortSignal;
}

type Made = ReadonlyMap<string, string>;

/** @returns undefined when it has failed, and that has been told */
async function build(invocation: Invocation, parts: Parts): Promise<Made | undefined> {
  const { flags, environment, output } = invocation;
  const { context, outputs, stores, progress, signal } = parts;
  const { variables } = environment;
  const { request, folders } = readSolveFlags(flags, {
    context: context.attrs,
    exporters: outputs.exporters,
    variables,
    stores,
    warn: (sentence) => output.err(`WARNING: ${sentence}\n`),
  });
  const transport: Transport = await invocation.engine();
  await using session = await openBuildSession(transport, {
    sharedKey: context.sharedKey,
    folders: new Map([...context.folders, ...folders]),
    secret: readSecrets(flags.list("secret"), variables),
    credentials: async (host) => await credentialsOf(invocation, host),
    sshAgents: readSshAgents(flags.list("ssh"), variables),
    outputs: outputs.targets,
    stores: stores.folders,
    uploads: context.uploads,
    signal,
  });
  using connection = await openBuildConnection(transport, { signal });
  try {
    return await connection.solve({
      request: { ...request, session: session.id },
      onStatus: (status) => progress.update(status),
      signal,
    });
  } catch (error) {
    if (!isKind(error)) throw error;
    tellFailure(invocation, { error, progress });
    // While the session lasts, the failed step's mounts do.
    if (flags.isOn("debug-on-fail") && !isKind(error, "canceled")) {
      await debugFailure(invocation, { trace: progress.trace, transport });
    }
    return undefined;
  }
}

function tellFailure(
  invocation: Invocation,
  { error, progress }: { readonly error: unknown; readonly progress: BuildProgress },
): void {
  progress.close();
  tellExplanations(invocation, progress);
  invocation.output.err(
    isKind(error, "canceled")
      ? "ERROR: failed to build: canceled\n"
      : describeBuildFailure(error, progress.trace),
  );
}

async function credentialsOf(
  { environment }: Invocation,
  host: string,
): Promise<{ readonly username: string; readonly secret: string } | undefined> {
  const domain = host === "registry-1.docker.io" ? "docker.io" : host;
  const found = await findUsableCredentials(environment, serverOf(domain));
  if (found === undefined) return undefined;
  const { username = "", password = "", identitytoken } = found;
  if (identitytoken !== undefined) return { username: "", secret: identitytoken };
  return username === "" ? undefined : { username, secret: password };
}

/** Files and output that the flags ask for. */
function tell(
  { flags, output }: Invocation,
  { made, progress }: { readonly made: Made; readonly progress: BuildProgress },
): void {
  const imageId =
    made.get("containerimage.config.digest") ?? made.get("containerimage.digest") ?? "";
  if (flags.text("iidfile") !== "") writeFileSync(flags.text("iidfile"), imageId);
  if (flags.text("metadata-file") !== "") {
    writeFileSync(flags.text("metadata-file"), `${formatMetadata(made)}\n`);
  }
  const text = made.get("result.txt");
  if (callOf(flags) !== "") {
    output.out(text === undefined ? "" : escapeControls(text, { keep: "\n\t" }));
    return;
  }
  const { warnings } = progress.trace;
  if (flags.isOn("quiet")) output.out(`${imageId}\n`);
  else if (warnings.length > 0) output.err(formatWarnings(warnings));
}

/** A table for people; programs find it in `--metadata-file`. */
function tellExplanations({ flags, output }: Invocation, progress: BuildProgress): void {
  if (flags.isOn("explain")) output.err(formatExplanations(progress.trace));
  if (flags.isOn("steps")) output.err(formatSteps(progress.trace));
}

/** A linter that finds something fails, as Docker's. */
function exitCodeOf(made: Made): number {
  return made.get("result.statuscode") === "1" ? 1 : 0;
}

function formatMetadata(made: Made): string {
  const document = Object.fromEntries(
    [...made].map(([key, value]) => [key, key.endsWith(".descriptor") ? decoded(value) : value]),
  );
  return JSON.stringify(document, undefined, 2);
}

/** Descriptors come as JSON in base64. */
function decoded(value: string): unknown {
  try {
    return JSON.parse(Buffer.from(value, "base64").toString("utf8")) as unknown;
  } catch (error) {
    if (error instanceof SyntaxError) return value;
    throw error;
  }
}
