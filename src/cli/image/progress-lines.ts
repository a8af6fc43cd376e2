/**
 * Lines of a terminal that are written over: one a layer, as pulls and pushes show them.
 *
 * A line that has scrolled out of the window is left as it is: nothing above the window can be reached.
 */
import { escapeControls } from "../../lib/terminal-text.ts";
import type { Output } from "../output.ts";

/** Lines by name. */
export interface ProgressLines {
  /** Writes the line of `name`, a new one at the end when it has none. */
  set(name: string, text: string): void;
  /** The lines stay as they are; what is printed next comes below them. */
  finish(): void;
}

/** Opens lines at the cursor, which is at the start of an empty line. */
export function openProgressLines(output: Output): ProgressLines {
  const lineOf = new Map<string, number>();
  const shown: string[] = [];
  return {
    set(name, text) {
      const line = cut(escapeControls(`${name}: ${text}`), output.columns);
      const at = lineOf.get(name);
      if (at === undefined) {
        lineOf.set(name, shown.length);
        shown.push(line);
        output.out(`${line}\n`);
        return;
      }
      const upCount = shown.length - at;
      if (shown[at] === line || upCount >= windowRows()) return;
      shown[at] = line;
      output.out(`\x1b[${upCount}A\r\x1b[2K${line}\x1b[${upCount}B\r`);
    },
    finish() {
      lineOf.clear();
      shown.length = 0;
    },
  };
}

function windowRows(): number {
  const rows = process.stdout.rows as number | undefined;
  return rows === undefined || rows <= 1 ? 24 : rows;
}

/** A line that wraps would take two of the window's. */
function cut(text: string, columns: number): string {
  return text.length < columns ? text : text.slice(0, Math.max(0, columns - 1));
}
