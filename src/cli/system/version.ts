import type { SystemVersion } from "../../api/system.ts";
import { apiVersionMax } from "../../api/versions.ts";
import { engineVersion } from "../../client/system.ts";
import { EngineError } from "../../lib/errors.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { tugVersion } from "../build-version.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { currentContextName, nonEmpty } from "../environment.ts";
import { describeFailure, failureCode } from "../errors.ts";
import { inspectFormatFlag } from "../flag/flags.ts";
import { compileFormat } from "../format/single.ts";

/** Shows versions of the client and the engine. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [inspectFormatFlag],
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { flags, output } = invocation;
  const format = flags.text("format");
  const typeName = "system.versionInfo";
  const render =
    format === ""
      ? undefined
      : await compileFormat(format, { isTerminal: output.isTerminal, typeName });
  const { server, failure } = await askEngine(invocation);
  const client = await clientOf(invocation, server);
  const value = { Client: goNamed(client), Server: server === undefined ? null : goNamed(server) };
  output.out(render === undefined ? layout(client, server) : render(value));
  if (failure === undefined) return 0;
  output.err(`${describeFailure(failure)}\n`);
  return failureCode;
}

async function askEngine(
  invocation: Invocation,
): Promise<{ readonly server?: SystemVersion; readonly failure?: unknown }> {
  try {
    return { server: await engineVersion(await invocation.engine()) };
  } catch (error) {
    if (error instanceof EngineError) return { failure: error };
    throw error;
  }
}

type ClientVersion = Readonly<Record<string, string>> & { readonly ApiVersion: string };

async function clientOf(
  invocation: Invocation,
  server: SystemVersion | undefined,
): Promise<ClientVersion> {
  const pinned = nonEmpty(invocation.environment.variables["DOCKER_API_VERSION"]);
  return {
    Version: tugVersion,
    ApiVersion: pinned ?? older(apiVersionMax, server?.ApiVersion ?? apiVersionMax),
    DefaultAPIVersion: apiVersionMax,
    GitCommit: "",
    GoVersion: `bun${process.versions["bun"] ?? ""}`,
    Os: process.platform,
    Arch: process.arch === "x64" ? "amd64" : process.arch,
    BuildTime: "",
    Context: await currentContextName(invocation.environment),
  };
}

/**
 * Adds the names that Go's templates use where they differ from the JSON: `{{.Client.APIVersion}}`.
 * They do not show in JSON.
 */
function goNamed<T extends { readonly ApiVersion?: string }>(version: T): T {
  const named = { ...version };
  Object.defineProperty(named, "APIVersion", { value: version.ApiVersion, enumerable: false });
  return named;
}

function older(left: string, right: string): string {
  const [, leftMinor = "0"] = left.split(".");
  const [, rightMinor = "0"] = right.split(".");
  return Number(rightMinor) < Number(leftMinor) ? right : left;
}

const labelWidth = 19;

function layout(client: ClientVersion, server: SystemVersion | undefined): string {
  const row = (indent: string, label: string, value: string): string =>
    `${`${indent}${label}:`.padEnd(labelWidth + indent.length)}${escapeControls(value)}`.trimEnd();
  const lines = [
    "Client:",
    row(" ", "Version", client["Version"] ?? ""),
    row(" ", "API version", client.ApiVersion),
    row(" ", "Runtime", client["GoVersion"] ?? ""),
    row(" ", "OS/Arch", `${client["Os"]}/${client["Arch"]}`),
    row(" ", "Context", client["Context"] ?? ""),
    "",
  ];
  if (server === undefined) return lines.join("\n");
  lines.push(`Server:${server.Platform?.Name ? ` ${escapeControls(server.Platform.Name)}` : ""}`);
  for (const component of server.Components ?? []) {
    lines.push(` ${escapeControls(component.Name)}:`, row("  ", "Version", component.Version));
    const details = component.Details ?? {};
    if (component.Name === "Engine") lines.push(...engineRows(details, row));
    else {
      for (const [name, value] of Object.entries(details)) lines.push(row("  ", name, value));
    }
  }
  return `${lines.join("\n")}\n`;
}

function engineRows(
  details: Readonly<Record<string, string>>,
  row: (indent: string, label: string, value: string) => string,
): readonly string[] {
  const api = `${details["ApiVersion"] ?? ""} (minimum version ${details["MinAPIVersion"] ?? ""})`;
  const named: readonly (readonly [string, string | undefined])[] = [
    ["API version", api],
    ["Go version", details["GoVersion"]],
    ["Git commit", details["GitCommit"]],
    ["Built", details["BuildTime"]],
    ["OS/Arch", `${details["Os"] ?? ""}/${details["Arch"] ?? ""}`],
    ["Experimental", details["Experimental"]],
  ];
  return named.flatMap(([label, value]) => (value === undefined ? [] : [row("  ", label, value)]));
}
