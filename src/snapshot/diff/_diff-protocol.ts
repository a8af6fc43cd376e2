/** What the daemon and the diff helper say to each other: one line of JSON a message. */
import { EngineError } from "../../lib/errors.ts";
import { isDigest } from "../../oci/digest.ts";
import type { Change, DiffRequest, HashedDiff } from "./diff.ts";
import { decodeHelperFailure, encodeHelperFailure, type HelperFailure } from "../helper-failure.ts";

const what = "read layer";

/** `hash`: one answer, then the next request. `tar`, `list`: the output, then the helper ends. */
export type DiffOperation = "hash" | "tar" | "list";

/** One request. */
export interface DiffMessage {
  readonly operation: DiffOperation;
  readonly request: DiffRequest;
}

/** A request as a line, its end included. */
export function encodeDiffMessage(message: DiffMessage): string {
  return `${JSON.stringify(message)}\n`;
}

/** Reads a request; its writer is the daemon. */
export function decodeDiffMessage(line: string): DiffMessage {
  const { operation, request } = fieldsOf(line);
  if (operation !== "hash" && operation !== "tar" && operation !== "list") {
    throw malformed("request");
  }
  const fields = fieldsIn(request);
  const { dir, parentDirs, kind, content, epochS, omitsEngineFiles } = fields;
  const isKind = kind === "overlay" || kind === "copy";
  if (typeof dir !== "string" || !isKind || !isTexts(parentDirs)) throw malformed("request");
  return {
    operation,
    request: {
      dir,
      parentDirs,
      kind,
      content: content === "tree" ? "tree" : "changes",
      omitsEngineFiles: omitsEngineFiles === true,
      ...(typeof epochS === "number" ? { epochS } : {}),
    },
  };
}

/** The answer to `hash`. */
export function encodeHashed(diff: HashedDiff): string {
  return `${JSON.stringify({ diff })}\n`;
}

/** The answer that there is none; also what `tar` and `list` say on standard error. */
export function encodeDiffFailure(error: unknown): string {
  const failure: HelperFailure = encodeHelperFailure(error, what);
  return `${JSON.stringify({ failure })}\n`;
}

/** Reads the answer to `hash`. @throws the helper's failure; internal for any other line */
export function decodeHashed(line: string): HashedDiff {
  const { diff, failure } = fieldsOf(line);
  if (failure !== undefined) throw decodeHelperFailure(failure, what);
  const { diffId, tarSizeBytes, sizeBytes, entryCount } = fieldsIn(diff);
  if (typeof diffId !== "string" || !isDigest(diffId)) throw malformed("answer");
  if (typeof tarSizeBytes !== "number" || typeof sizeBytes !== "number") throw malformed("answer");
  if (typeof entryCount !== "number") throw malformed("answer");
  return { diffId, tarSizeBytes, sizeBytes, entryCount };
}

/** What a helper that ended badly said; internal when it said nothing. */
export function failureOfEnd(end: {
  readonly exitCode: number;
  readonly signalName?: string;
  readonly stderr: string;
}): EngineError {
  const [line = ""] = end.stderr.split("\n");
  if (line.startsWith('{"failure"')) return decodeHelperFailure(fieldsOf(line).failure, what);
  const how = end.signalName ?? `exit code ${end.exitCode}`;
  return new EngineError("internal", `${what}: the helper ended with ${how}`, {
    details: { stderr: end.stderr.slice(-2000) },
  });
}

/** One change as a line. */
export function encodeChange(change: Change): string {
  return `${change.kind} ${JSON.stringify(change.path)}\n`;
}

/** Reads a change. @throws internal */
export function decodeChange(line: string): Change {
  const cut = line.indexOf(" ");
  const kind = line.slice(0, cut);
  const path = parse(line.slice(cut + 1));
  const isKind = kind === "added" || kind === "modified" || kind === "removed";
  if (!isKind || typeof path !== "string") throw malformed("change");
  return { kind, path };
}

type FieldName = keyof DiffMessage | keyof DiffRequest | keyof HashedDiff | "diff" | "failure";
type Fields = { readonly [name in FieldName]?: unknown };

function fieldsOf(text: string): Fields {
  return fieldsIn(parse(text));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw malformed("message");
    throw error;
  }
}

function fieldsIn(value: unknown): Fields {
  return Object(value) as Fields;
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === "string");
}

function malformed(part: string): EngineError {
  return new EngineError("internal", `${what}: the helper's ${part} is malformed`);
}
