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
  const lines = text.split("\n").map((line) => line.split("\t"));
  const widths = lines.map((cells): number[] => cells.slice(0, -1).map(() => 0));
  const columnCount = widths.reduce((most, row) => Math.max(most, row.length), 0);
  for (let column = 0; column < columnCount; column += 1) {
    let at = 0;
    while (at < lines.length) {
      let end = at;
      let width = minWidth;
      for (; end < lines.length && (widths[end]?.length ?? 0) > column; end += 1) {
        width = Math.max(width, cellWidth(lines[end]?.[column] ?? "") + padding);
      }
      for (let row = at; row < end; row += 1) widths[row]?.splice(column, 1, width);
      at = end + 1;
    }
  }
  return lines
    .map((cells, row) =>
      cells
        .map((cell, column) => {
          const width = widths[row]?.[column];
          return width === undefined ? cell : cell + " ".repeat(width - cellWidth(cell));
        })
        .join(""),
    )
    .join("\n");
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
