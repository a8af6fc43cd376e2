/**
 * Dockerfile instructions that change a run configuration: `import --change`, `commit --change`.
 */
import { EngineError } from "../../lib/errors.ts";
import { parseDuration } from "../../lib/time.ts";
import type { Healthcheck, ImageRunConfig } from "../../oci/image-config.ts";

/** A change is one line; longer ones are refused. */
const changeLengthMax = 64 * 1024;

const shell = ["/bin/sh", "-c"];

type Apply = (config: ImageRunConfig, text: string) => ImageRunConfig;

/** @throws invalid-argument naming the change */
export function applyChanges(config: ImageRunConfig, changes: readonly string[]): ImageRunConfig {
  let current = config;
  let isCommandGiven = false;
  for (const change of changes.flatMap(linesOf)) {
    const [, word = "", rest = ""] = /^\s*([A-Za-z]+)\s*([\s\S]*)$/.exec(change) ?? [];
    const instruction = word.toUpperCase();
    const apply = instructions[instruction];
    if (change.length > changeLengthMax || apply === undefined) {
      throw new EngineError("invalid-argument", `${word} is not a valid change command`);
    }
    current = apply(current, rest.trim());
    if (instruction === "CMD") isCommandGiven = true;
    // A new entrypoint has no use for arguments that were meant for the old one.
    if (instruction === "ENTRYPOINT" && !isCommandGiven) current = withoutCommand(current);
  }
  return current;
}

function linesOf(change: string): readonly string[] {
  return change
    .replace(/\\\r?\n/g, " ")
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.trimStart().startsWith("#"));
}

function withoutCommand(config: ImageRunConfig): ImageRunConfig {
  return Object.fromEntries(Object.entries(config).filter(([name]) => name !== "Cmd"));
}

const instructions: Readonly<Record<string, Apply>> = {
  // Docker: no command is the shell alone, seen in 28.5
  CMD: (config, text) => ({ ...config, Cmd: text === "" ? shell : command(text) }),
  ENTRYPOINT: (config, text) => ({ ...config, Entrypoint: command(text) }),
  ENV: (config, text) => {
    const added = pairs(text, "ENV");
    const names = new Set(added.map(([name]) => name));
    const kept = (config.Env ?? []).filter((entry) => !names.has(entry.split("=")[0] ?? ""));
    return { ...config, Env: [...kept, ...added.map(([name, value]) => `${name}=${value}`)] };
  },
  EXPOSE: (config, text) => {
    const ports = words(text, "EXPOSE").map((port) => {
      if (!/^\d{1,5}(-\d{1,5})?(\/(tcp|udp|sctp))?$/i.test(port)) {
        throw new EngineError("invalid-argument", `Invalid containerPort: ${port}`);
      }
      return port.includes("/") ? port.toLowerCase() : `${port}/tcp`;
    });
    return { ...config, ExposedPorts: { ...config.ExposedPorts, ...setOf(ports) } };
  },
  LABEL: (config, text) => ({
    ...config,
    Labels: { ...config.Labels, ...Object.fromEntries(pairs(text, "LABEL")) },
  }),
  USER: (config, text) => ({ ...config, User: one(text, "USER") }),
  VOLUME: (config, text) => ({
    ...config,
    Volumes: { ...config.Volumes, ...setOf(jsonList(text) ?? words(text, "VOLUME")) },
  }),
  WORKDIR: (config, text) => {
    const path = one(text, "WORKDIR");
    const base = config.WorkingDir ?? "/";
    return {
      ...config,
      WorkingDir: path.startsWith("/") ? path : `${base.replace(/\/$/, "")}/${path}`,
    };
  },
  STOPSIGNAL: (config, text) => ({ ...config, StopSignal: one(text, "STOPSIGNAL") }),
  HEALTHCHECK: (config, text) => ({ ...config, Healthcheck: healthcheck(text) }),
  ONBUILD: (config, text) => ({ ...config, OnBuild: [...(config.OnBuild ?? []), text] }),
};

function setOf(names: readonly string[]): Record<string, Record<string, never>> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

/** The exec form, or the shell form wrapped in `/bin/sh -c`. */
function command(text: string): readonly string[] {
  return jsonList(text) ?? (text === "" ? [] : [...shell, text]);
}

const probeFlags: ReadonlyMap<string, keyof Healthcheck> = new Map([
  ["interval", "Interval"],
  ["timeout", "Timeout"],
  ["start-period", "StartPeriod"],
  ["start-interval", "StartInterval"],
]);

/** `NONE`, or flags and `CMD` with a command in either form. */
function healthcheck(text: string): Healthcheck {
  const wrong = (reason: string): EngineError => refused(`HEALTHCHECK ${text}`, reason);
  if (/^none$/i.test(text)) return { Test: ["NONE"] };
  const [, flags = "", rest = ""] = /^((?:--\S+\s+)*)(?:CMD\s+)([\s\S]+)$/i.exec(text) ?? [];
  if (rest === "") throw wrong("NONE or CMD with a command is wanted");
  let probe: Healthcheck = {};
  for (const flag of flags.trim().split(/\s+/).filter(Boolean)) {
    const [name = "", value = ""] = flag.slice("--".length).split("=", 2);
    const field = probeFlags.get(name);
    if (name === "retries" && /^\d{1,6}$/.test(value)) probe = { ...probe, Retries: Number(value) };
    else if (field === undefined) throw wrong(`${flag} is no flag of it`);
    else probe = { ...probe, [field]: Number(parseDuration(value)) };
  }
  const list = jsonList(rest);
  return { ...probe, Test: list === undefined ? ["CMD-SHELL", rest] : ["CMD", ...list] };
}

function jsonList(text: string): readonly string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    const isList = Array.isArray(value) && value.every((item) => typeof item === "string");
    return isList ? (value as readonly string[]) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** `a=b "c d"=e f="g h"`, or the old form `a b c`: one name, the rest its value. */
function pairs(text: string, word: string): readonly (readonly [string, string])[] {
  const first = /^\S+/.exec(text)?.[0] ?? "";
  if (first === "") throw needsArgument(word);
  if (!first.includes("=")) {
    const value = text.slice(first.length).trim();
    if (value === "") throw refused(`${word} ${text}`, "a name without a value");
    return [[first, value]];
  }
  return words(text, word).map((entry) => {
    const equals = entry.indexOf("=");
    if (equals < 1) throw refused(`${word} ${text}`, `${entry} is no name=value`);
    return [entry.slice(0, equals), entry.slice(equals + 1)];
  });
}

function one(text: string, word: string): string {
  const list = words(text, word);
  if (list.length !== 1) {
    throw new EngineError("invalid-argument", `${word} requires exactly one argument`);
  }
  return list[0] ?? "";
}

/** Splits at blanks outside of quotes; quotes and backslashes are taken away. */
function words(text: string, word: string): readonly string[] {
  const list: string[] = [];
  const form = /\s*((?:[^\s"'\\]|\\[\s\S]|"(?:[^"\\]|\\[\s\S])*"|'[^']*')+)/y;
  while (form.lastIndex < text.length) {
    const match = form.exec(text);
    if (match === null) throw refused(`${word} ${text}`, "a quote is not closed");
    list.push(unquote(match[1] ?? ""));
  }
  if (list.length === 0) throw needsArgument(word);
  return list;
}

function unquote(word: string): string {
  return word.replace(
    /"((?:[^"\\]|\\[\s\S])*)"|'([^']*)'|\\([\s\S])/g,
    (_all, double, single, escaped) => {
      if (double !== undefined) return String(double).replace(/\\([\s\S])/g, "$1");
      return String(single ?? escaped);
    },
  );
}

function needsArgument(word: string): EngineError {
  return new EngineError("invalid-argument", `${word} requires at least one argument`);
}

function refused(change: string, reason: string): EngineError {
  return new EngineError("invalid-argument", `invalid change ${JSON.stringify(change)}: ${reason}`);
}
