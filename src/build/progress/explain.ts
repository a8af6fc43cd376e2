/** Why a step's result was found in the cache, or had to be made. */
import { digestHex, digestOf } from "../../oci/digest.ts";
import { defineAction } from "../step-key.ts";
import type { Step } from "../step.ts";
import type { SourceFacts, StepFacts } from "./step-history.ts";

/** Why one step hit or missed. */
export interface Explanation {
  /** `[build 2/5] RUN make`. */
  readonly step: string;
  readonly isHit: boolean;
  /** In words, the most important one first. */
  readonly reasons: readonly string[];
}

/** Changed files that are named, of one step. */
const namedFilesMax = 10;
const shortDigits = 12;

/** What a step is made of, for `StepHistory`. */
export function factsOf(
  step: Step,
  made: {
    readonly key: string;
    readonly build: string;
    readonly below: string | undefined;
    readonly contents: readonly string[];
    readonly files: ReadonlyMap<number, string>;
    readonly epochS: number | undefined;
  },
): StepFacts {
  const { action } = step;
  const base = step.below?.action;
  const run = action.kind === "run" ? action.run : undefined;
  const plain = run === undefined ? action : ({ kind: "run", run: { ...run, env: [] } } as const);
  return {
    key: made.key,
    build: made.build,
    text: step.description,
    action: short(JSON.stringify(defineAction(plain))),
    variables: Object.fromEntries((run?.env ?? []).map(variableOf)),
    ...(base?.kind === "image" ? { base: base.image.id } : {}),
    ...(made.below === undefined ? {} : { below: made.below }),
    sources: made.contents.flatMap((digest, index): SourceFacts[] => {
      const files = made.files.get(index);
      const label = labelOf(step, index);
      if (digest === "" || label === undefined) return [];
      return [{ label, digest, ...(files === undefined ? {} : { files }) }];
    }),
    ...(made.epochS === undefined ? {} : { epochS: made.epochS }),
  };
}

function variableOf(entry: string): readonly [string, string] {
  const at = entry.indexOf("=");
  return at < 0 ? [entry, ""] : [entry.slice(0, at), short(entry.slice(at + 1))];
}

function labelOf({ action }: Step, index: number): string | undefined {
  if (action.kind === "copy") {
    const source = action.copy.sources[index];
    return source?.kind === "files" ? source.paths.join(" ") : undefined;
  }
  return action.kind === "run" ? action.run.mounts[index]?.target : undefined;
}

/** Says why a step hit. */
export function explainHit(
  before: StepFacts | undefined,
  found: { readonly key: string; readonly madeNs: string | undefined; readonly nowNs: bigint },
): readonly string[] {
  const age = found.madeNs === undefined ? "" : ` ${agoOf(found.nowNs - BigInt(found.madeNs))}`;
  const maker = before?.key === found.key ? ` by build ${before.build}` : "";
  return [`made${age}${maker}`];
}

/**
 * Says why a step missed.
 *
 * @param before the most recent step of its place
 * @param known.isArgument tells a build argument from another variable
 */
export function explainMiss(
  before: StepFacts | undefined,
  now: StepFacts,
  known: { readonly isIgnored: boolean; readonly isArgument: (name: string) => boolean },
): readonly string[] {
  if (known.isIgnored) return ["the cache was not to be used"];
  if (before === undefined) return ["nothing was built here before"];
  if (before.key === now.key) return ["the same as before, whose result is not kept any more"];
  const reasons = [
    ...explainAction(before, now),
    ...explainVariables(before, { now, isArgument: known.isArgument }),
    ...explainSources(before, now),
    ...(before.epochS === now.epochS ? [] : ["SOURCE_DATE_EPOCH changed"]),
    ...explainBelow(before, now),
  ];
  return reasons.length > 0 ? reasons : ["what it is made of changed"];
}

function explainAction(before: StepFacts, now: StepFacts): readonly string[] {
  if (before.action === now.action) return [];
  if (before.text === now.text) return ["its options or words that are expanded changed"];
  return [`the command changed (it was: ${clip(before.text)})`];
}

function explainVariables(
  { variables: before }: StepFacts,
  more: { readonly now: StepFacts; readonly isArgument: (name: string) => boolean },
): readonly string[] {
  const { variables: now } = more.now;
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])].toSorted();
  return names
    .filter((name) => before[name] !== now[name])
    .map((name) => {
      const what = more.isArgument(name) ? "build argument" : "variable";
      const how =
        before[name] === undefined ? "is new" : now[name] === undefined ? "is gone" : "changed";
      return `${what} ${name} ${how}`;
    });
}

function explainSources(before: StepFacts, now: StepFacts): readonly string[] {
  const reasons: string[] = [];
  for (const [index, source] of now.sources.entries()) {
    const earlier = before.sources[index];
    if (earlier === undefined || earlier.digest === source.digest) continue;
    const files =
      earlier.files === undefined || source.files === undefined
        ? undefined
        : compareFiles(earlier.files, source.files);
    const named = files === undefined || files.length === 0 ? "" : `: ${files.join(", ")}`;
    reasons.push(`the files of ${source.label} changed${named}`);
  }
  return reasons;
}

function explainBelow(before: StepFacts, now: StepFacts): readonly string[] {
  if (before.base !== undefined && now.base !== undefined && before.base !== now.base) {
    return [`the base image changed (${shortId(before.base)} → ${shortId(now.base)})`];
  }
  return before.below === now.below ? [] : ["the step before it was made anew"];
}

/** Says which files differ: `a.c (content)`, `b (new)`, `c (removed)`, `d (mode or owner)`. */
export function compareFiles(before: string, now: string): readonly string[] {
  const [old, fresh] = [filesOf(before), filesOf(now)];
  const changes: string[] = [];
  for (const [path, { content, attributes }] of fresh) {
    const earlier = old.get(path);
    if (earlier === undefined) changes.push(`${path} (new)`);
    else if (earlier.content !== content) changes.push(`${path} (content)`);
    else if (earlier.attributes !== attributes) changes.push(`${path} (mode or owner)`);
  }
  for (const path of old.keys()) if (!fresh.has(path)) changes.push(`${path} (removed)`);
  if (changes.length <= namedFilesMax) return changes;
  const rest = changes.length - namedFilesMax;
  return [...changes.slice(0, namedFilesMax), `and ${rest} more`];
}

interface ListedFile {
  readonly content: string;
  readonly attributes: string;
}

function filesOf(lines: string): ReadonlyMap<string, ListedFile> {
  const files = new Map<string, ListedFile>();
  for (const line of lines.split("\n")) {
    const [, content, attributes, path] = /^(\S*) (\S*) (.*)$/.exec(line) ?? [];
    if (content === undefined || attributes === undefined || path === undefined) continue;
    files.set(path, { content, attributes });
  }
  return files;
}

/** `3 minutes ago`. */
function agoOf(ageNs: bigint): string {
  const seconds = Number(ageNs / 1_000_000_000n);
  for (const [unit, size] of ageUnits) {
    const count = Math.floor(seconds / size);
    if (count >= 1) return `${count} ${unit}${count === 1 ? "" : "s"} ago`;
  }
  return "just now";
}

const ageUnits = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
] as const;

function clip(text: string): string {
  const [line = ""] = text.split("\n");
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}

function shortId(id: string): string {
  return id.slice(0, "sha256:".length + shortDigits);
}

function short(text: string): string {
  return digestHex(digestOf(text)).slice(0, shortDigits);
}
