/**
 * An image's configuration while its stage is read: what instructions add to it, and its history.
 *
 * Texts of the history are those of BuildKit 0.29, letter by letter, since tools read them.
 */
import { posix } from "node:path";
import type { ImageConfig, ImageHistory, ImageRunConfig } from "../../oci/image-config.ts";
import type { Platform } from "../../oci/platform.ts";
import type { CommandLine, Instruction } from "../dockerfile/instruction.ts";
import { goDuration, goList, goQuoted, goQuotedList, goRune } from "./go-format.ts";
import { parseExposedPorts } from "./_exposed-ports.ts";

/** Said of each entry of the history that a Dockerfile made. */
export const historyComment = "buildkit.dockerfile.v0";
/** Search path of an image that says none. */
export const pathDefault = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const shellDefault: readonly string[] = ["/bin/sh", "-c"];

/** An entry of the history whose time is not known yet; `layer` counts the layers of the stage's
 * image from 0. */
export interface DraftHistory {
  readonly entry: ImageHistory;
  /** The entry is the base image's own and stays as it is. */
  readonly isInherited: boolean;
}

/** Instructions that change nothing but the configuration. */
export type ConfigInstruction = Exclude<
  Instruction,
  { kind: "from" } | { kind: "run" } | { kind: "copy" | "add" } | { kind: "arg" }
>;

/** What an image will be, as far as its instructions have been read. */
export class StageImage {
  readonly platform: Platform;
  #config: ImageRunConfig;
  readonly #history: DraftHistory[];
  #author: string | undefined;
  #hasOwnCommand = false;

  constructor(platform: Platform, base?: ImageConfig) {
    this.platform = platform;
    this.#config = base === undefined ? { WorkingDir: "/" } : inheritedConfig(base.config ?? {});
    this.#author = base?.author;
    this.#history = (base?.history ?? []).map((entry) => ({ entry, isInherited: true }));
    if (!this.env.some((entry) => entry.startsWith("PATH="))) this.setEnv("PATH", pathDefault);
    // Triggers are for images built from this one, and are dropped there.
    const { OnBuild: _, ...rest } = this.#config;
    this.#config = rest;
  }

  /** A draft that goes on from this one: `FROM stage`. */
  fork(platform: Platform): StageImage {
    const copy = this.copy(platform);
    const { OnBuild: _, ...rest } = copy.#config;
    copy.#config = rest;
    return copy;
  }

  /** The draft as it is now. */
  copy(platform: Platform = this.platform): StageImage {
    const copy = new StageImage(platform);
    copy.#config = this.#config;
    copy.#author = this.#author;
    copy.#history.push(...this.#history);
    return copy;
  }

  /** The same image with its own layers in one, which an entry of the history tells. */
  squash(comment: string): StageImage {
    const copy = this.copy();
    const entries = copy.#history.splice(0);
    copy.#history.push(
      ...entries.map(({ entry, isInherited }) => ({
        isInherited,
        entry: isInherited ? entry : { ...entry, empty_layer: true },
      })),
      { isInherited: false, entry: { comment } },
    );
    return copy;
  }

  get config(): ImageRunConfig {
    return this.#config;
  }

  get author(): string | undefined {
    return this.#author;
  }

  get history(): readonly DraftHistory[] {
    return this.#history;
  }

  get env(): readonly string[] {
    return this.#config.Env ?? [];
  }

  get workingDir(): string {
    const { WorkingDir: path = "" } = this.#config;
    return path === "" ? "/" : path;
  }

  get user(): string {
    return this.#config.User ?? "";
  }

  get shell(): readonly string[] {
    const { Shell: shell = [] } = this.#config;
    return shell.length === 0 ? shellDefault : shell;
  }

  /** A command as its process gets it. */
  argsOf(command: CommandLine): readonly string[] {
    return command.form === "exec" ? command.args : [...this.shell, command.text];
  }

  /** Adds an entry to the history. */
  note(createdBy: string, options: { readonly hasLayer: boolean }): void {
    this.#history.push({
      isInherited: false,
      entry: {
        created_by: createdBy,
        comment: historyComment,
        ...(options.hasLayer ? {} : { empty_layer: true }),
      },
    });
  }

  /** Makes `path` the working folder; relative ones go on from the last. @returns it, absolute */
  setWorkingDir(path: string): string {
    const absolute = posix.resolve(this.workingDir, path === "" ? "/" : path);
    this.#change({ WorkingDir: absolute });
    return absolute;
  }

  setEnv(key: string, value: string): void {
    const env = [...this.env];
    const at = env.findIndex((entry) => entry.startsWith(`${key}=`));
    if (at < 0) env.push(`${key}=${value}`);
    else env[at] = `${key}=${value}`;
    this.#change({ Env: env });
  }

  setLabel(key: string, value: string): void {
    this.#change({ Labels: { ...this.#config.Labels, [key]: value } });
  }

  /** Applies an instruction whose words are expanded. @throws invalid-argument */
  apply(instruction: ConfigInstruction): void {
    this.note(this.#applyAndTell(instruction), { hasLayer: false });
    // Docker: triggers leave no trace in the history, seen in 28.5
    if (instruction.kind === "onbuild") this.#history.pop();
  }

  #change(config: Partial<ImageRunConfig>): void {
    this.#config = { ...this.#config, ...config };
  }

  #drop(key: "Cmd" | "Entrypoint"): void {
    const { [key]: _, ...rest } = this.#config;
    this.#config = rest;
  }

  #applyAndTell(instruction: ConfigInstruction): string {
    switch (instruction.kind) {
      case "env":
        for (const { key, value } of instruction.pairs) this.setEnv(key, value);
        return `ENV ${pairsText(instruction.pairs)}`;
      case "label":
        for (const { key, value } of instruction.pairs) this.setLabel(key, value);
        return `LABEL ${pairsText(instruction.pairs)}`;
      case "cmd": {
        const args = this.argsOf(instruction.command);
        this.#hasOwnCommand = true;
        this.#change({ Cmd: args, ArgsEscaped: true });
        // Docker: an empty list is none, seen in 28.5
        if (args.length === 0) this.#drop("Cmd");
        return `CMD ${goQuotedList(args)}`;
      }
      case "entrypoint":
        return this.#applyEntrypoint(instruction.command);
      case "shell":
        this.#change({ Shell: instruction.args });
        return `SHELL ${goList(instruction.args)}`;
      case "expose":
        return this.#applyExpose(instruction.ports);
      case "volume":
        return this.#applyVolumes(instruction.paths);
      case "user":
        this.#change({ User: instruction.value });
        return `USER ${instruction.value}`;
      case "stopsignal":
        this.#change({ StopSignal: instruction.value });
        return `STOPSIGNAL ${instruction.value}`;
      case "maintainer":
        this.#author = instruction.value;
        return `MAINTAINER ${instruction.value}`;
      case "workdir":
        return `WORKDIR ${this.setWorkingDir(instruction.value)}`;
      case "healthcheck":
        return this.#applyHealthcheck(instruction.check);
      case "onbuild":
        this.#change({ OnBuild: [...(this.#config.OnBuild ?? []), instruction.trigger] });
        return "";
    }
  }

  #applyEntrypoint(command: CommandLine): string {
    const args = this.argsOf(command);
    this.#change({ Entrypoint: args });
    if (args.length === 0) this.#drop("Entrypoint");
    // The base's command was made for the base's entry point.
    if (!this.#hasOwnCommand) this.#drop("Cmd");
    return `ENTRYPOINT ${goQuotedList(args)}`;
  }

  #applyExpose(words: readonly string[]): string {
    const ports = parseExposedPorts(words);
    const added = Object.fromEntries(ports.map((port) => [port, {}]));
    this.#change({ ExposedPorts: { ...this.#config.ExposedPorts, ...added } });
    return `EXPOSE ${goList(ports)}`;
  }

  #applyVolumes(paths: readonly string[]): string {
    const added = Object.fromEntries(paths.map((path) => [path, {}]));
    this.#change({ Volumes: { ...this.#config.Volumes, ...added } });
    return `VOLUME ${goList(paths)}`;
  }

  #applyHealthcheck(check: Extract<ConfigInstruction, { kind: "healthcheck" }>["check"]): string {
    if (check.kind === "none") {
      this.#change({ Healthcheck: { Test: ["NONE"] } });
      return `HEALTHCHECK ${healthcheckText(["NONE"], {})}`;
    }
    const { command, intervalNs, timeoutNs, startPeriodNs, startIntervalNs, retries } = check;
    const test = command.form === "exec" ? ["CMD", ...command.args] : ["CMD-SHELL", command.text];
    const isSet = (value: number | undefined): value is number => (value ?? 0) !== 0;
    this.#change({
      Healthcheck: {
        Test: test,
        ...(isSet(intervalNs) ? { Interval: intervalNs } : {}),
        ...(isSet(timeoutNs) ? { Timeout: timeoutNs } : {}),
        ...(isSet(startPeriodNs) ? { StartPeriod: startPeriodNs } : {}),
        ...(isSet(startIntervalNs) ? { StartInterval: startIntervalNs } : {}),
        ...(isSet(retries) ? { Retries: retries } : {}),
      },
    });
    return `HEALTHCHECK ${healthcheckText(test, check)}`;
  }
}

/** What an image passes on; fields that only a container has, and empty ones, are dropped. */
function inheritedConfig(config: ImageRunConfig): ImageRunConfig {
  const { User, ExposedPorts, Env, Entrypoint, Cmd, Volumes, WorkingDir, Labels } = config;
  const { StopSignal, ArgsEscaped, Healthcheck, OnBuild, Shell } = config;
  const kept = {
    User,
    ExposedPorts,
    Env,
    Entrypoint,
    Cmd,
    Volumes,
    WorkingDir,
    Labels,
    StopSignal,
    ArgsEscaped,
    Healthcheck,
    OnBuild,
    Shell,
  };
  const isSaid = ([, value]: readonly [string, unknown]): boolean =>
    value !== undefined &&
    value !== "" &&
    value !== false &&
    !(typeof value === "object" && Object.keys(Object(value)).length === 0);
  return Object.fromEntries(Object.entries(kept).filter(isSaid));
}

/** Go's %q of the structure that BuildKit keeps. */
function healthcheckText(
  test: readonly string[],
  check: {
    readonly intervalNs?: number;
    readonly timeoutNs?: number;
    readonly startPeriodNs?: number;
    readonly startIntervalNs?: number;
    readonly retries?: number;
  },
): string {
  const times = [check.intervalNs, check.timeoutNs, check.startPeriodNs, check.startIntervalNs];
  const parts = times.map((ns) => goQuoted(goDuration(ns ?? 0)));
  return `&{${goQuotedList(test)} ${parts.join(" ")} ${goRune(check.retries ?? 0)}}`;
}

function pairsText(pairs: readonly { readonly key: string; readonly value: string }[]): string {
  return pairs.map(({ key, value }) => `${key}=${value}`).join(" ");
}
