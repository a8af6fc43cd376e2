import { posix } from "node:path";
import type { ContainerConfig, HealthConfig } from "../../api/container-config.ts";
import {
  invalidEnvironment,
  invalidSignal,
  invalidWorkingDir,
  noCommand,
} from "../../lib/docker-messages.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import type { ImageRunConfig } from "../../oci/image-config.ts";
import { signalNumber } from "../../sys/process/process.ts";

/** Shortest interval of a probe. */
const probeMinNs = 1_000_000;

/**
 * Completes what was asked for with what the image says, and checks it.
 *
 * Entrypoint given: the image's command is forgotten. Entrypoint `[""]`: neither counts.
 * Environment by name, labels by key; ports and volumes add up; the rest by absence.
 *
 * @throws invalid-argument in Docker's words
 */
export function applyImageDefaults(
  asked: ContainerConfig,
  image: ImageRunConfig | undefined,
): ContainerConfig {
  const defaults = image ?? {};
  for (const entry of asked.Env ?? []) checkEnvironment(entry);
  const { MacAddress: _, ...portable } = asked;
  const merged: ContainerConfig = {
    ...portable,
    User: asked.User === "" ? (defaults.User ?? "") : asked.User,
    Env: mergeEnvironment(asked.Env, defaults.Env),
    Labels: { ...defaults.Labels, ...asked.Labels },
    WorkingDir: cleanPath(asked.WorkingDir === "" ? (defaults.WorkingDir ?? "") : asked.WorkingDir),
    Volumes: mergeSets(asked.Volumes, defaults.Volumes) ?? null,
    ...commandOf(asked, defaults),
    ...present("ExposedPorts", mergeSets(asked.ExposedPorts, defaults.ExposedPorts)),
    ...present("Healthcheck", mergeHealthcheck(asked.Healthcheck, defaults.Healthcheck)),
    ...present("StopSignal", nonEmpty(asked.StopSignal) ?? nonEmpty(defaults.StopSignal)),
  };
  check(merged);
  return merged;
}

/** As Go's path.Clean, except that no path stays none. */
function cleanPath(path: string): string {
  return path === "" ? "" : posix.normalize(path).replace(/(.)\/$/, "$1");
}

/** The program and its arguments, as `Path` and `Args` of inspect. */
export function argumentsOf(config: ContainerConfig): readonly string[] {
  return [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
}

function commandOf(
  asked: ContainerConfig,
  image: ImageRunConfig,
): Pick<ContainerConfig, "Entrypoint" | "Cmd"> {
  const entrypoint = asked.Entrypoint;
  const isEntrypointGiven = entrypoint !== null && entrypoint.length > 0;
  const isCmdGiven = asked.Cmd !== null && asked.Cmd.length > 0;
  const cmd = isEntrypointGiven || isCmdGiven ? asked.Cmd : (image.Cmd ?? asked.Cmd);
  const chosen = entrypoint ?? image.Entrypoint ?? null;
  const isReset = chosen?.length === 1 && chosen[0] === "";
  return { Entrypoint: isReset ? null : chosen, Cmd: cmd };
}

function check(config: ContainerConfig): void {
  if (argumentsOf(config).length === 0) throw noCommand();
  if (config.WorkingDir !== "" && !config.WorkingDir.startsWith("/")) {
    throw invalidWorkingDir(config.WorkingDir);
  }
  if (config.StopSignal !== undefined) checkSignal(config.StopSignal);
  checkProbe(config.Healthcheck);
}

function checkEnvironment(entry: string): void {
  if (entry === "" || entry.startsWith("=")) throw invalidEnvironment(entry);
  if (entry.includes("\0")) {
    throw new EngineError("invalid-argument", "invalid environment variable: it has a zero byte");
  }
}

function checkSignal(signal: string): void {
  try {
    signalNumber(signal);
  } catch (error) {
    if (isKind(error)) throw invalidSignal(signal);
    throw error;
  }
}

function checkProbe(probe: HealthConfig | undefined): void {
  if (probe === undefined) return;
  for (const name of ["Interval", "Timeout", "StartPeriod", "StartInterval"] as const) {
    const value = probe[name] ?? 0;
    if (value !== 0 && value < probeMinNs) {
      throw new EngineError("invalid-argument", `${name} in Healthcheck cannot be less than 1ms`);
    }
  }
  if ((probe.Retries ?? 0) < 0) {
    throw new EngineError("invalid-argument", "Retries in Healthcheck cannot be negative");
  }
}

function mergeEnvironment(
  asked: readonly string[] | null,
  image: readonly string[] | undefined,
): readonly string[] | null {
  if (asked === null || asked.length === 0) return image ?? null;
  const nameOf = (entry: string): string => entry.split("=", 1)[0] ?? "";
  const names = new Set(asked.map(nameOf));
  return [...asked, ...(image ?? []).filter((entry) => !names.has(nameOf(entry)))];
}

type Sets = ContainerConfig["Volumes"] | undefined;

function mergeSets(asked: Sets, image: Sets): NonNullable<Sets> | undefined {
  const merged = { ...image, ...asked };
  return Object.keys(merged).length === 0 ? undefined : merged;
}

function mergeHealthcheck(
  asked: HealthConfig | undefined,
  image: HealthConfig | undefined,
): HealthConfig | undefined {
  if (asked === undefined || image === undefined) return asked ?? image;
  return {
    ...image,
    ...Object.fromEntries(
      Object.entries(asked).filter(([, value]) =>
        Array.isArray(value) ? value.length > 0 : value,
      ),
    ),
  };
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === "" ? undefined : value;
}

function present<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  const pair: Partial<Record<K, V>> = {};
  if (value !== undefined) pair[key] = value;
  return pair;
}
