/** `--output` and its short forms: what becomes of a build's result. */
import { mkdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { TypedAttrs } from "../../api/buildkit/control.ts";
import type { OutputTarget } from "../../client/session/build-session.ts";
import { EngineError } from "../../lib/errors.ts";
import { checkOutputPath, writeFile } from "../file-output.ts";
import type { FlagReader } from "../flag/flag-reader.ts";
import { splitCsv } from "../options/mount.ts";
import { writeBytes } from "../byte-sink.ts";
import type { Output } from "../output.ts";
import { readAnnotations } from "./build-annotations.ts";
import { type BuildStores, openLayoutOutput } from "./build-stores.ts";

/** Exporters, and places for what they send. */
export interface BuildOutputs {
  readonly exporters: readonly TypedAttrs[];
  readonly targets: ReadonlyMap<number, OutputTarget>;
}

/** Reads outputs; an image by the names of `--tag` when there are none. @throws invalid-argument */
export function readBuildOutputs(
  flags: FlagReader,
  output: Output,
  stores: BuildStores,
): BuildOutputs {
  const texts = [
    ...flags.list("output"),
    ...(flags.isOn("push") ? ["type=registry"] : []),
    ...(flags.isOn("load") ? ["type=docker"] : []),
  ];
  const names = flags.list("tag").join(",");
  const annotations = readAnnotations(flags.list("annotation"));
  const entries = texts.length === 0 ? [new Map([["type", "image"]])] : texts.map(readOutput);
  const targets = new Map<number, OutputTarget>();
  const exporters = entries.map((entry, index): TypedAttrs => {
    const { type = "", dest, ...rest } = Object.fromEntries(entry);
    const isLayout = (type === "oci" || type === "docker") && entry.get("tar") === "false";
    if (isLayout) openLayoutOutput(needDest(type, dest), stores);
    const target = isLayout ? undefined : targetOf({ type, dest }, output);
    if (target !== undefined) targets.set(index, target);
    const attrs = new Map(Object.entries(rest));
    // Files have no name to be called by.
    const isNamed = type !== "local" && type !== "tar";
    if (isNamed && names !== "" && !attrs.has("name")) attrs.set("name", names);
    if (isNamed) for (const [key, value] of annotations) attrs.set(key, value);
    return exporterOf(type, { attrs, hasTarget: isLayout || target !== undefined });
  });
  return { exporters, targets };
}

function readOutput(text: string): ReadonlyMap<string, string> {
  // A path alone: a folder, or standard output for "-".
  if (!text.includes("=")) {
    return text === "-"
      ? new Map([
          ["type", "tar"],
          ["dest", "-"],
        ])
      : new Map([
          ["type", "local"],
          ["dest", text],
        ]);
  }
  const entry = new Map<string, string>();
  for (const field of splitCsv(text)) {
    const at = field.indexOf("=");
    if (at <= 0) throw new EngineError("invalid-argument", `invalid value ${field}`);
    entry.set(field.slice(0, at).trim().toLowerCase(), field.slice(at + 1));
  }
  if (!entry.has("type")) {
    throw new EngineError(
      "invalid-argument",
      `type is required for output ${JSON.stringify(text)}`,
    );
  }
  return entry;
}

function exporterOf(
  type: string,
  { attrs, hasTarget }: { readonly attrs: Map<string, string>; readonly hasTarget: boolean },
): TypedAttrs {
  switch (type) {
    case "registry":
      attrs.set("push", "true");
      return { type: "image", attrs };
    case "image":
      return { type: "moby", attrs };
    case "docker":
      return hasTarget ? { type, attrs } : { type: "moby", attrs };
    default:
      return { type, attrs };
  }
}

function needDest(type: string, dest: string | undefined): string {
  if (dest !== undefined && dest !== "") return dest;
  throw new EngineError("invalid-argument", `dest is required for ${type} output`);
}

function targetOf(
  { type, dest }: { readonly type: string; readonly dest: string | undefined },
  output: Output,
): OutputTarget | undefined {
  switch (type) {
    case "local":
      return { kind: "folder", path: resolve(needDest(type, dest)) };
    case "tar":
    case "oci":
      return fileTarget(dest ?? "-", output);
    case "docker":
      return dest === undefined ? undefined : fileTarget(dest, output);
    case "image":
    case "registry":
      return undefined;
    default:
      throw new EngineError("invalid-argument", `invalid output type ${JSON.stringify(type)}`);
  }
}

function fileTarget(dest: string, output: Output): OutputTarget {
  if (dest === "-" || dest === "") {
    if (output.isTerminal) {
      throw new EngineError(
        "invalid-argument",
        "dest file is required for this output: refusing to write to a terminal",
      );
    }
    return {
      kind: "file",
      write: async (bytes) => {
        for await (const chunk of bytes) await writeBytes(1, chunk);
      },
    };
  }
  const path = resolve(dest);
  const what = "write output";
  checkOutputPath(path, what);
  return {
    kind: "file",
    write: async (bytes) => {
      mkdirSync(dirname(path), { recursive: true });
      await writeFile(bytes, { path, what });
    },
  };
}
