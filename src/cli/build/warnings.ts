/** What the linter has found in a build, told at its end. */
import type { VertexWarning } from "../../api/buildkit/control.ts";
import { escapeControls } from "../../lib/terminal-text.ts";

/** Formats findings: one line each, which names the line of the Dockerfile. */
export function formatWarnings(warnings: readonly VertexWarning[]): string {
  const count = warnings.length === 1 ? "1 warning" : `${warnings.length} warnings`;
  const lines = warnings.map(
    ({ short }) => ` - ${escapeControls(Buffer.from(short).toString("utf8"))}`,
  );
  return `\n${count} found (tug build --check shows more):\n${lines.join("\n")}\n`;
}
