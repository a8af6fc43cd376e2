/** A failed build, told: the last output of the step that failed, and its place in the Dockerfile. */
import { EngineError, messageOf } from "../../lib/errors.ts";
import { type AnyMessage, statusDetailsKey } from "../../lib/grpc/status.ts";
import { pictureOf } from "../../lib/source-picture.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import type { BuildTrace } from "./build-trace.ts";

/** Lines of output that are told again. */
const linesTold = 20;
/** How BuildKit names a place among a failure's details. */
const sourceSuffix = "errdefs.Source+json";

/** Tells a failure of a build, for standard error. */
export function describeBuildFailure(error: unknown, trace: BuildTrace): string {
  const parts: string[] = [];
  const failed = trace.steps.find((step) => step.error !== "" && !/canceled/.test(step.error));
  if (failed !== undefined && failed.lines.length + failed.rest.length > 0) {
    const rest = failed.rest === "" ? [] : [{ atS: 0, text: failed.rest }];
    const lines = [...failed.lines, ...rest]
      .slice(-linesTold)
      .map(({ atS, text }) => `${atS.toFixed(3)} ${text}`);
    parts.push("------", ` > ${failed.name}:`, ...lines, "------");
  }
  for (const picture of picturesOf(error)) parts.push(picture);
  parts.push(`ERROR: failed to build: failed to solve: ${sentenceOf(error)}`);
  return `${parts.map((part) => escapeControls(part, { keep: "\n\t" })).join("\n")}\n`;
}

/** Without the words that the engine has put in front already. */
function sentenceOf(error: unknown): string {
  return messageOf(error).replace(/^failed to solve: /, "");
}

function picturesOf(error: unknown): readonly string[] {
  const details = error instanceof EngineError ? error.details[statusDetailsKey] : undefined;
  if (!Array.isArray(details)) return [];
  return (details as readonly AnyMessage[]).flatMap((detail) => {
    const picture = detail.typeUrl.endsWith(sourceSuffix) ? pictureOfDetail(detail) : undefined;
    return picture === undefined ? [] : [picture];
  });
}

function pictureOfDetail({ value }: AnyMessage): string | undefined {
  const detail = parse(Buffer.from(value).toString("utf8"));
  const info = objectOf(detail["info"]);
  const [range] = Array.isArray(detail["ranges"]) ? (detail["ranges"] as readonly unknown[]) : [];
  const start = objectOf(objectOf(range)["start"])["line"];
  const end = objectOf(objectOf(range)["end"])["line"];
  const { data, filename } = info;
  if (typeof data !== "string" || typeof start !== "number") return undefined;
  const lines = Buffer.from(data, "base64").toString("utf8").split("\n");
  const place = { startLine: start, endLine: typeof end === "number" ? end : start };
  return pictureOf(lines, place, typeof filename === "string" ? { name: filename } : {});
}

function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    return objectOf(JSON.parse(text));
  } catch (error) {
    // A picture is a help; the sentence is told without it.
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}
