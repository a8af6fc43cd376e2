/**
 * What a client asks instead of a build: warnings, arguments, targets. Answers are documents by name,
 * in BuildKit's form.
 *
 * @see BuildKit 0.29, frontend/subrequests
 */
import { posix } from "node:path";
import type { BuildRequest, BuildWarning } from "./build-service.ts";
import type { EngineError } from "../lib/errors.ts";
import { pictureOf } from "../lib/source-picture.ts";
import type { Dockerfile, Location, Stage } from "./dockerfile/instruction.ts";
import { isOurs } from "./lint/lint-rules.ts";
import { placeOf } from "./failure.ts";

type Answers = Readonly<Record<string, string>>;

interface Asked {
  readonly request: BuildRequest;
  /** The Dockerfile as it came. */
  readonly bytes: Uint8Array;
}

/** Answers what the Dockerfile alone tells; undefined when a build or its check is asked for. */
export function answerBeforeBuild(dockerfile: Dockerfile, asked: Asked): Answers | undefined {
  const { subrequest } = asked.request;
  if (subrequest === "targets") return answerTargets(dockerfile, asked);
  return subrequest === "outline" ? answerOutline(dockerfile, asked) : undefined;
}

/** Answers a check. */
export function answerCheck(
  asked: Asked & { readonly warnings: readonly BuildWarning[]; readonly refusal?: EngineError },
): Answers {
  const { refusal } = asked;
  const filename = posix.basename(asked.request.dockerfileName ?? "Dockerfile");
  const document = {
    warnings: asked.warnings.map((warning) => ({
      ruleName: warning.rule,
      description: warning.description,
      url: warning.url,
      detail: warning.detail,
      location: locationOf(warning),
    })),
    sources: [
      { filename, data: Buffer.from(asked.bytes).toString("base64"), language: "Dockerfile" },
    ],
    ...(refusal === undefined ? {} : { buildError: buildErrorOf(refusal) }),
  };
  const lines = new TextDecoder().decode(asked.bytes).split(/\r?\n/);
  const picture = (place: Location): string => `${pictureOf(lines, place, { name: filename })}\n`;
  const text = asked.warnings.map(
    (warning) =>
      `\nWARNING: ${warning.rule} - ${warning.url}\n${warning.detail}\n${picture(warning)}`,
  );
  if (refusal !== undefined) {
    const place = placeOf(refusal);
    text.push(`\nERROR: ${refusal.message}\n${place === undefined ? "" : picture(place)}`);
  }
  // Hints of our own are no reason to fail.
  const isGood = refusal === undefined && asked.warnings.every(({ rule }) => isOurs(rule));
  return {
    "result.json": JSON.stringify(document, undefined, 2),
    "result.txt": text.join(""),
    "result.statuscode": isGood ? "0" : "1",
    version: "1.0.0",
  };
}

function buildErrorOf(refusal: EngineError): object {
  const place = placeOf(refusal);
  return {
    message: refusal.message,
    ...(place === undefined ? {} : { location: locationOf(place) }),
  };
}

function answerTargets(dockerfile: Dockerfile, { bytes }: Asked): Answers {
  const last = dockerfile.stages.length - 1;
  const targets = dockerfile.stages.map((stage) => {
    const description = describe(stage.from.comments, stage.name);
    return {
      ...(stage.name === undefined ? {} : { name: stage.name }),
      ...(stage.index === last ? { default: true } : {}),
      ...(description === "" ? {} : { description }),
      base: stage.from.image,
      ...(stage.from.platform === undefined ? {} : { platform: stage.from.platform }),
      location: locationOf(stage.from.location),
    };
  });
  const rows = targets.map(({ name, description = "", ...target }) => [
    target.default === true ? `${name ?? ""} (default)`.trim() : (name ?? ""),
    description,
  ]);
  return {
    "result.json": JSON.stringify({ targets, sources: [encode(bytes)] }, undefined, 2),
    "result.txt": table([["TARGET", "DESCRIPTION"], ...rows]),
    version: "1.0.0",
  };
}

function answerOutline(dockerfile: Dockerfile, { request, bytes }: Asked): Answers {
  const target = request.target?.toLowerCase();
  const stage =
    dockerfile.stages.find(({ name }) => name !== undefined && name === target) ??
    dockerfile.stages.at(-1);
  const args = new Map<string, OutlineArg>();
  const needed = stage === undefined ? [] : stagesOf(dockerfile, stage);
  for (const instruction of [
    ...dockerfile.metaArgs,
    ...needed.flatMap(({ instructions }) => instructions.filter(({ kind }) => kind === "arg")),
  ]) {
    if (instruction.kind !== "arg") continue;
    for (const { name, value } of instruction.args) {
      const settled = request.args.get(name) ?? value ?? args.get(name)?.value;
      const description = describe(instruction.comments, name);
      args.set(name, {
        name,
        ...(description === "" ? {} : { description }),
        ...(settled === undefined ? {} : { value: settled }),
        location: locationOf(instruction.location),
      });
    }
  }
  const mounts = needed.flatMap(({ instructions }) =>
    instructions.flatMap((instruction) =>
      instruction.kind === "run"
        ? instruction.mounts.map((mount) => ({ mount, location: instruction.location }))
        : [],
    ),
  );
  const of = (type: string): typeof mounts => mounts.filter(({ mount }) => mount.type === type);
  const about = stage === undefined ? "" : describe(stage.from.comments, stage.name);
  const document = {
    ...(stage?.name === undefined ? {} : { name: stage.name }),
    ...(about === "" ? {} : { description: about }),
    ...(args.size === 0 ? {} : { args: [...args.values()] }),
    ...named("secrets", of("secret")),
    ...named("ssh", of("ssh")),
    sources: [encode(bytes)],
  };
  const rows = [...args.values()].map(({ name, value = "", description = "" }) => [
    name,
    value,
    description,
  ]);
  return {
    "result.json": JSON.stringify(document, undefined, 2),
    "result.txt": table([["BUILD ARG", "VALUE", "DESCRIPTION"], ...rows]),
    version: "1.0.0",
  };
}

interface OutlineArg {
  readonly name: string;
  readonly description?: string;
  readonly value?: string;
  readonly location: object;
}

function named(
  key: string,
  mounts: readonly {
    readonly mount: {
      readonly id?: string;
      readonly target?: string;
      readonly isRequired?: boolean;
    };
    readonly location: Location;
  }[],
): object {
  if (mounts.length === 0) return {};
  return {
    [key]: mounts.map(({ mount, location }) => ({
      name: mount.id ?? posix.basename(mount.target ?? "default"),
      ...(mount.isRequired === true ? { required: true } : {}),
      location: locationOf(location),
    })),
  };
}

/** A stage and the stages that it is based on or copies from. */
function stagesOf(dockerfile: Dockerfile, stage: Stage): readonly Stage[] {
  const found = new Set<Stage>();
  const visit = (each: Stage): void => {
    if (found.has(each)) return;
    const names = [
      each.from.image,
      ...each.instructions.flatMap((instruction) =>
        (instruction.kind === "copy" || instruction.kind === "add") &&
        instruction.from !== undefined
          ? [instruction.from]
          : [],
      ),
    ];
    for (const name of names) {
      const other = dockerfile.stages.find(
        (candidate) => candidate.name === name.toLowerCase() || String(candidate.index) === name,
      );
      if (other !== undefined && other !== each) visit(other);
    }
    found.add(each);
  };
  visit(stage);
  return [...found];
}

/** The comment that begins with a name, without it. */
function describe(comments: readonly string[] | undefined, name: string | undefined): string {
  if (name === undefined) return "";
  for (const comment of comments ?? []) {
    const text = comment.trim();
    if (text.toLowerCase().startsWith(`${name.toLowerCase()} `)) {
      return text.slice(name.length + 1).trim();
    }
  }
  return "";
}

function locationOf({ startLine, endLine }: Location): object {
  return { ranges: [{ start: { line: startLine }, end: { line: endLine } }] };
}

function encode(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  const lines = rows.map((row) =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("   "),
  );
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n`;
}
