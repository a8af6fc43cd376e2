/** Aligns cells as Go's tabwriter does with Docker's settings: cells of 10 or more, 3 between. */

const cellMinWidth = 10;
const cellPadding = 3;

/** How wide cells are. */
export interface TableOptions {
  readonly minWidth?: number;
  readonly padding?: number;
}

/**
 * Aligns text whose cells end with tabs; the last cell of a line is left as it is.
 *
 * A column is as wide as its widest cell among lines that follow each other and have that column.
 */
export function alignCells(text: string, options: TableOptions = {}): string {
  const minWidth = options.minWidth ?? cellMinWidth;
  const padding = options.padding ?? cellPadding;
  const lines: Line[] = [];
  let columnCount = 0;
  for (const line of text.split("\n")) {
    const cells = line.split("\t");
    lines.push({ cells, widths: [] });
    columnCount = Math.max(columnCount, cells.length - 1);
  }
  for (let column = 0; column < columnCount; column += 1) {
    alignColumn(lines, { column, minWidth, padding });
  }
  let aligned = "";
  let newline = "";
  for (const { cells, widths } of lines) {
    aligned += newline;
    newline = "\n";
    for (let column = 0; column < cells.length; column += 1) {
      const cell = cells[column] ?? "";
      const width = widths[column];
      aligned += width === undefined ? cell : cell + " ".repeat(width - cellWidth(cell));
    }
  }
  return aligned;
}

/** One line; its last cell has no width. */
interface Line {
  readonly cells: readonly string[];
  readonly widths: number[];
}

function alignColumn(
  lines: readonly Line[],
  options: { readonly column: number } & Required<TableOptions>,
): void {
  const { column, minWidth, padding } = options;
  let at = 0;
  while (at < lines.length) {
    let end = at;
    let width = minWidth;
    for (; end < lines.length; end += 1) {
      const cells = lines[end]?.cells ?? [];
      if (cells.length - 1 <= column) break;
      width = Math.max(width, cellWidth(cells[column] ?? "") + padding);
    }
    for (let row = at; row < end; row += 1) lines[row]?.widths.push(width);
    at = end + 1;
  }
}

/** Characters as Go counts them: code points. */
export function cellWidth(text: string): number {
  let width = 0;
  for (const _ of text) width += 1;
  return width;
}

/** Cuts text to `width` characters, the last of which is then "…". */
export function ellipsis(text: string, width: number): string {
  const characters = [...text];
  if (characters.length <= width) return text;
  return width <= 1
    ? characters.slice(0, width).join("")
    : `${characters.slice(0, width - 1).join("")}…`;
}
