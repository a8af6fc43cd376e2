import type { LogConfig } from "../../api/container-config.ts";
import { EngineError } from "../../lib/errors.ts";
import { findGoBool } from "../../lib/go-bool.ts";
import { parseSize } from "../../lib/size.ts";
import type { LogPlan } from "../../runtime/shim-protocol.ts";

/** Rotation unless asked otherwise. */
export const logSizeDefaultBytes: number = 10 * 1024 * 1024;
/** Files kept unless asked otherwise, the current one included. */
export const logCountDefault = 3;
const logCountMax = 10_000;

/** Options of json-file; those with `false` are accepted for Docker's sake and change nothing. */
const jsonFileOptions = [
  "max-size",
  "max-file",
  "compress",
  "labels",
  "labels-regex",
  "env",
  "env-regex",
  "tag",
  "mode",
  "max-buffer-size",
];

/**
 * Checks where output is to go.
 *
 * @throws invalid-argument in Docker's words; not-implemented for a driver or option that comes later
 */
export function checkLogConfig(config: LogConfig): void {
  rotationOf(config);
}

/** What a log plan depends on. */
export interface LogPlanInput {
  readonly config: LogConfig;
  /** The engine's options; for the default driver alone. */
  readonly defaults: Readonly<Record<string, string>>;
  readonly path: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly env: readonly string[];
}

/** Where the shim writes output to. */
export function planLog(input: LogPlanInput): LogPlan {
  const own = input.config.Config ?? {};
  const config = { Type: input.config.Type, Config: { ...input.defaults, ...own } };
  if (config.Type === "none") {
    return { driver: "none", sizeMaxBytes: 0, countMax: 1, isCompressed: false };
  }
  const attributes = attributesOf(config.Config, input);
  return {
    driver: "json-file",
    path: input.path,
    ...rotationOf(config),
    ...(Object.keys(attributes).length === 0 ? {} : { attributes }),
  };
}

type Rotation = Pick<LogPlan, "sizeMaxBytes" | "countMax" | "isCompressed">;

function rotationOf(config: LogConfig): Rotation {
  const options = config.Config ?? {};
  if (config.Type !== "json-file" && config.Type !== "none") throw unknownDriver(config.Type);
  if (config.Type === "none") return { sizeMaxBytes: 0, countMax: 1, isCompressed: false };
  for (const name of Object.keys(options)) {
    if (jsonFileOptions.includes(name)) continue;
    throw invalid(`unknown log opt '${name}' for json-file log driver`);
  }
  for (const name of ["labels-regex", "env-regex", "tag"]) {
    if ((options[name] ?? "") === "") continue;
    throw new EngineError(
      "not-implemented",
      `Tug does not support HostConfig.LogConfig.Config.${name} yet`,
    );
  }
  if (!["", "blocking", "non-blocking"].includes(options["mode"] ?? "")) {
    throw invalid(`logger: invalid logging mode ${JSON.stringify(options["mode"])}`);
  }
  return {
    sizeMaxBytes: sizeOf(options["max-size"]),
    countMax: countOf(options["max-file"]),
    isCompressed: isTrue(options["compress"]),
  };
}

function sizeOf(text: string | undefined): number {
  if (text === undefined || text === "") return logSizeDefaultBytes;
  // Docker: -1 turns rotation off, seen in 28.5
  if (text === "-1") return 0;
  const bytes = parseSize(text);
  if (bytes <= 0) throw invalid(`max-size should be a positive number`);
  return bytes;
}

function countOf(text: string | undefined): number {
  if (text === undefined || text === "") return logCountDefault;
  const count = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(count)) {
    throw invalid(`strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  if (count < 1) throw invalid("max-file cannot be less than 1");
  return Math.min(count, logCountMax);
}

function isTrue(text: string | undefined): boolean {
  if (text === undefined || text === "") return false;
  const value = findGoBool(text);
  if (value !== undefined) return value;
  throw invalid(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
}

/** Labels and variables that the options name. */
function attributesOf(
  options: Readonly<Record<string, string>>,
  input: LogPlanInput,
): Readonly<Record<string, string>> {
  const attributes: Record<string, string> = {};
  for (const name of namesIn(options["labels"])) {
    const value = input.labels[name];
    if (value !== undefined) attributes[name] = value;
  }
  for (const name of namesIn(options["env"])) {
    const entry = input.env.find((one) => one.startsWith(`${name}=`));
    if (entry !== undefined) attributes[name] = entry.slice(name.length + 1);
  }
  return attributes;
}

function namesIn(list: string | undefined): readonly string[] {
  return (list ?? "").split(",").filter((name) => name !== "");
}

function unknownDriver(type: string): EngineError {
  return invalid(`error looking up logging plugin ${type}: plugin "${type}" not found`);
}

function invalid(sentence: string): EngineError {
  return new EngineError("invalid-argument", sentence);
}
