/** One line of JSON each way: a job for the helper, and what became of it. */
import { EngineError, errorKinds, messageOf } from "../../lib/errors.ts";
import { isDigest } from "../../oci/digest.ts";
import type {
  Checksum,
  ChecksumRequest,
  CopyRequest,
  CopyResult,
  CopySource,
  FileStep,
  FileTree,
  Match,
} from "./copy.ts";

/** What a helper is asked. */
export type Job =
  | { readonly kind: "checksum"; readonly request: ChecksumRequest }
  | { readonly kind: "copy"; readonly request: CopyRequest }
  | {
      readonly kind: "read";
      readonly tree: FileTree;
      readonly path: string;
      readonly sizeMaxBytes: number;
    };

/** What a helper answers. */
export type Answer =
  | { readonly kind: "checksum"; readonly checksum: Checksum }
  | { readonly kind: "copy"; readonly result: CopyResult }
  | { readonly kind: "read"; readonly bytes: Uint8Array | undefined };

/** Largest line: here-documents and lists of paths fit many times. */
export const lineMaxBytes: number = 64 * 1024 * 1024;

/** The line of a job. */
export function encodeJob(job: Job): string {
  if (job.kind !== "copy") return JSON.stringify(job);
  const steps = job.request.steps.map((step) =>
    step.kind === "copy" ? { ...step, sources: step.sources.map(encodeSource) } : step,
  );
  return JSON.stringify({ ...job, request: { ...job.request, steps } });
}

function encodeSource(source: CopySource): unknown {
  if (source.kind !== "content") return source;
  return { ...source, bytes: Buffer.from(source.bytes).toString("base64") };
}

/** Reads the line of a job; its writer is this program. */
export function decodeJob(line: string): Job {
  const job = JSON.parse(line) as Job;
  if (job.kind !== "copy") return job;
  const steps = job.request.steps.map(
    (step): FileStep =>
      step.kind === "copy" ? { ...step, sources: step.sources.map(decodeSource) } : step,
  );
  return { ...job, request: { ...job.request, steps } };
}

function decodeSource(source: CopySource): CopySource {
  if (source.kind !== "content") return source;
  return { ...source, bytes: Buffer.from(String(source.bytes), "base64") };
}

/** The line of an answer. */
export function encodeAnswer(answer: Answer): string {
  if (answer.kind !== "read") return `${JSON.stringify(answer)}\n`;
  const bytes = answer.bytes === undefined ? null : Buffer.from(answer.bytes).toString("base64");
  return `${JSON.stringify({ ...answer, bytes })}\n`;
}

/** The line of a failure. */
export function encodeFailure(error: unknown): string {
  const kind = error instanceof EngineError ? error.kind : "internal";
  const code = error instanceof EngineError ? error.details["code"] : undefined;
  return `${JSON.stringify({ kind: "failure", failure: { kind, message: messageOf(error), code } })}\n`;
}

/** Reads the line of an answer. @throws the helper's failure; internal for any other line */
export function decodeAnswer(line: string): Answer {
  const fields = fieldsOf(line);
  if (fields["kind"] === "failure") throw decodeFailure(fields["failure"]);
  if (fields["kind"] === "read") {
    const { bytes } = fields as { readonly bytes?: unknown };
    const isThere = typeof bytes === "string";
    return { kind: "read", bytes: isThere ? Buffer.from(bytes, "base64") : undefined };
  }
  if (fields["kind"] === "copy") {
    const result = Object(fields["result"]) as Partial<Record<keyof CopyResult, unknown>>;
    const { fileCount, sizeBytes, checksums } = result;
    if (typeof fileCount !== "number" || typeof sizeBytes !== "number") throw malformed();
    if (!Array.isArray(checksums)) throw malformed();
    const decoded = checksums.map((checksum: unknown) => decodeChecksum(checksum));
    return { kind: "copy", result: { fileCount, sizeBytes, checksums: decoded } };
  }
  if (fields["kind"] !== "checksum") throw malformed();
  return { kind: "checksum", checksum: decodeChecksum(fields["checksum"]) };
}

function decodeChecksum(value: unknown): Checksum {
  const fields = Object(value) as Partial<Record<keyof Checksum, unknown>>;
  const { digest, matches, entryCount, sizeBytes, hashedBytes, files } = fields;
  const isSound =
    typeof digest === "string" &&
    isDigest(digest) &&
    Array.isArray(matches) &&
    typeof entryCount === "number" &&
    typeof sizeBytes === "number" &&
    typeof hashedBytes === "number";
  if (!isSound) throw malformed();
  return {
    digest,
    matches: matches as Match[],
    entryCount,
    sizeBytes,
    hashedBytes,
    ...(typeof files === "string" ? { files } : {}),
  };
}

function decodeFailure(failure: unknown): EngineError {
  const { kind, message, code } = Object(failure) as Record<string, unknown>;
  const known = errorKinds.find((one) => one === kind) ?? "internal";
  const details = code === undefined ? {} : { details: { code } };
  return new EngineError(known, typeof message === "string" ? message : "copy files", details);
}

function fieldsOf(line: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(line)) as Record<string, unknown>;
  } catch (error) {
    if (error instanceof SyntaxError) throw malformed();
    throw error;
  }
}

function malformed(): EngineError {
  return new EngineError("internal", "copy files: the helper's answer is malformed");
}
