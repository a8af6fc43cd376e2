import { EngineError } from "../../lib/errors.ts";
import { isDigest } from "../../oci/digest.ts";
import { decodeHelperFailure, encodeHelperFailure } from "../helper-failure.ts";
import type { AppliedLayer, ApplyOptions, LayerLimits } from "./apply.ts";

/** The request, for standard input of the helper. */
export function encodeUnpackRequest(options: ApplyOptions): string {
  return JSON.stringify(options);
}

/** Reads a request; its writer is the daemon. */
export function decodeUnpackRequest(text: string): ApplyOptions {
  const fields = fieldsOf(text);
  const { blobPath, targetDir, parentDirs, whiteouts, expectedDiffId, limits, durable } = fields;
  const ingest = decodeIngest(fields.ingest);
  if (typeof blobPath !== "string" || typeof targetDir !== "string") throw malformed("request");
  const parents = Array.isArray(parentDirs) ? parentDirs : [];
  if (!parents.every((path) => typeof path === "string")) throw malformed("request");
  const isDiffId = typeof expectedDiffId === "string" && isDigest(expectedDiffId);
  return {
    blobPath,
    targetDir,
    parentDirs: parents,
    whiteouts: whiteouts === "remove" ? "remove" : "overlay",
    durable: durable === true,
    limits: decodeLimits(limits),
    ...(isDiffId ? { expectedDiffId } : {}),
    ...(ingest === undefined ? {} : { ingest }),
  };
}

function decodeIngest(value: unknown): ApplyOptions["ingest"] {
  const { path, sizeBytes } = Object(value) as Record<"path" | "sizeBytes", unknown>;
  if (typeof path !== "string" || typeof sizeBytes !== "number") return undefined;
  return { path, sizeBytes };
}

/** The line that tells what was unpacked. */
export function encodeUnpackResult(layer: AppliedLayer): string {
  return JSON.stringify({ layer });
}

/** The line that tells why nothing was unpacked. */
export function encodeUnpackFailure(error: unknown): string {
  return JSON.stringify({ failure: encodeHelperFailure(error, "unpack layer") });
}

/** Reads the line of a helper. @throws the helper's failure; internal for any other line */
export function decodeUnpackResult(text: string): AppliedLayer {
  const { layer, failure } = fieldsOf(text);
  if (failure !== undefined) throw decodeHelperFailure(failure, "unpack layer");
  const { diffId, sizeBytes, entryCount, standsAlone, hasRootEntry } = fieldsIn(layer);
  if (typeof diffId !== "string" || !isDigest(diffId)) throw malformed("answer");
  if (typeof sizeBytes !== "number" || typeof entryCount !== "number") throw malformed("answer");
  return {
    diffId,
    sizeBytes,
    entryCount,
    standsAlone: standsAlone === true,
    hasRootEntry: hasRootEntry === true,
  };
}

function decodeLimits(value: unknown): Partial<LayerLimits> {
  const limits: { -readonly [K in keyof LayerLimits]?: number } = {};
  const fields = fieldsIn(value);
  const names = ["sizeMaxBytes", "entriesMax", "expansionRatioMax", "ratioFreeBytes"] as const;
  for (const name of names) {
    const limit = fields[name];
    if (typeof limit === "number") limits[name] = limit;
  }
  return limits;
}

type FieldName = keyof ApplyOptions | keyof AppliedLayer | keyof LayerLimits | "layer" | "failure";

type Fields = { readonly [name in FieldName]?: unknown };

function fieldsOf(text: string): Fields {
  try {
    return fieldsIn(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError) throw malformed("message");
    throw error;
  }
}

function fieldsIn(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

function malformed(what: string): EngineError {
  return new EngineError("internal", `unpack layer: the helper's ${what} is malformed`);
}
