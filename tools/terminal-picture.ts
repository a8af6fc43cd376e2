/**
 * Draws captured output of a terminal as an SVG window.
 *
 * `bun tools/terminal-picture.ts docs/terminal.svg < captured.txt`: plain text with the colours of
 * SGR sequences; a line that begins with `# ` or `$ ` is a prompt with what was typed.
 */

/** What a picture is made of. */
export interface PictureOptions {
  /** In the window's bar. */
  readonly title: string;
  /** Longer lines are cut, with an ellipsis. */
  readonly columnsMax?: number;
  /** Lines beyond it are left out. */
  readonly rowsMax?: number;
}

const columnsDefault = 130;
const rowsDefault = 60;
const tabColumns = 8;
/** Of a monospaced face at this size, in pixels. */
const cell = { width: 8.43, height: 19, size: 14 } as const;
const margin = { side: 18, top: 52, bottom: 18 } as const;

const colours = {
  background: "#10151c",
  bar: "#1b232d",
  text: "#d5dde5",
  faint: "#7d8b99",
  prompt: "#5fd7a7",
} as const;

/** SGR 30 to 37, and their bright forms. */
const palette: readonly string[] = [
  "#4a5562",
  "#ff7b72",
  "#5fd7a7",
  "#e3b341",
  "#79b8ff",
  "#d2a8ff",
  "#76e3ea",
  "#d5dde5",
];

/** A stretch of one look. */
export interface Span {
  readonly text: string;
  readonly colour: string;
  readonly isBold: boolean;
}

// oxlint-disable-next-line no-control-regex -- escape sequences are the subject
const sequence =
  /\u001b(?:\[([0-9;:?]*)([ -/]*[@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;

/** Splits a line at its SGR sequences; other sequences are dropped. */
export function parseLine(line: string): readonly Span[] {
  const spans: Span[] = [];
  let look: Omit<Span, "text"> = { colour: colours.text, isBold: false };
  let start = 0;
  const add = (end: number): void => {
    if (end > start) spans.push({ text: line.slice(start, end), ...look });
  };
  for (const match of line.matchAll(sequence)) {
    add(match.index);
    start = match.index + match[0].length;
    if (match[2] === "m") look = applySgr(look, match[1] ?? "");
  }
  add(line.length);
  return spans;
}

function applySgr(before: Omit<Span, "text">, parameters: string): Omit<Span, "text"> {
  let look = before;
  for (const word of parameters.split(/[;:]/)) {
    const code = Number(word);
    if (code === 0) look = { colour: colours.text, isBold: false };
    else if (code === 1) look = { ...look, isBold: true };
    else if (code === 2) look = { ...look, colour: colours.faint };
    else if (code === 22) look = { ...look, isBold: false };
    else if (code === 39) look = { ...look, colour: colours.text };
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) {
      look = { ...look, colour: palette[code % 10] ?? colours.text };
    }
  }
  return look;
}

/** The SVG of a window with this text. */
export function drawTerminal(text: string, options: PictureOptions): string {
  const columnsMax = options.columnsMax ?? columnsDefault;
  const lines = text
    .replace(/\r\n/g, "\n")
    .replace(/\n+$/, "")
    .split("\n")
    .slice(0, options.rowsMax ?? rowsDefault)
    .map((line) => lineSpans(line, columnsMax));
  const columns = Math.max(60, ...lines.map(lengthOf));
  const width = Math.ceil(columns * cell.width + 2 * margin.side);
  const height = Math.ceil(lines.length * cell.height + margin.top + margin.bottom);
  const rows = lines.map((spans, index) => drawRow(spans, margin.top + index * cell.height + 10));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escapeXml(options.title)}</title>`,
    `<rect width="${width}" height="${height}" rx="10" fill="${colours.background}"/>`,
    `<path d="M0 10a10 10 0 0 1 10-10h${width - 20}a10 10 0 0 1 10 10v24H0z" fill="${colours.bar}"/>`,
    ...["#ff5f57", "#febc2e", "#28c840"].map(
      (fill, index) => `<circle cx="${20 + index * 20}" cy="17" r="6" fill="${fill}"/>`,
    ),
    `<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="${cell.size}" xml:space="preserve" style="white-space:pre">`,
    `<text x="${width / 2}" y="22" text-anchor="middle" font-size="12" fill="${colours.faint}">${escapeXml(options.title)}</text>`,
    ...rows.filter((row) => row !== ""),
    "</g>",
    "</svg>",
    "",
  ].join("\n");
}

function lineSpans(line: string, columnsMax: number): readonly Span[] {
  const typed = /^[#$] (.*)$/.exec(line);
  if (typed !== null) {
    return [
      { text: line.slice(0, 2), colour: colours.prompt, isBold: true },
      ...cut([{ text: typed[1] ?? "", colour: "#ffffff", isBold: true }], columnsMax - 2),
    ];
  }
  return cut(parseLine(expandTabs(line)), columnsMax);
}

function expandTabs(line: string): string {
  let column = 0;
  return line.replace(/[^\t]|\t/gu, (sign) => {
    const filled = sign === "\t" ? " ".repeat(tabColumns - (column % tabColumns)) : sign;
    column += filled.length;
    return filled;
  });
}

function cut(spans: readonly Span[], columnsMax: number): readonly Span[] {
  if (lengthOf(spans) <= columnsMax) return spans;
  const kept: Span[] = [];
  let left = columnsMax - 1;
  for (const span of spans) {
    if (left <= 0) break;
    kept.push({ ...span, text: span.text.slice(0, left) });
    left -= span.text.length;
  }
  return [...kept, { text: "…", colour: colours.faint, isBold: false }];
}

function lengthOf(spans: readonly Span[]): number {
  return spans.reduce((sum, { text }) => sum + text.length, 0);
}

function drawRow(spans: readonly Span[], y: number): string {
  let column = 0;
  const parts = spans.map(({ text, colour, isBold }) => {
    const x = (margin.side + column * cell.width).toFixed(1);
    column += text.length;
    if (text.trim() === "") return "";
    const length = (text.length * cell.width).toFixed(1);
    const weight = isBold ? ' font-weight="bold"' : "";
    return `<tspan x="${x}" textLength="${length}" fill="${colour}"${weight}>${escapeXml(text)}</tspan>`;
  });
  const drawn = parts.join("");
  return drawn === "" ? "" : `<text y="${y}">${drawn}</text>`;
}

/** Text for XML; characters that XML cannot have are left out. */
function escapeXml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replace(/[^\t\n\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "");
}

if (import.meta.main) {
  const [path, title = "tug"] = process.argv.slice(2);
  if (path === undefined) {
    console.error("usage: bun tools/terminal-picture.ts OUT.svg [TITLE] < captured.txt");
    process.exit(2);
  }
  await Bun.write(path, drawTerminal(await Bun.stdin.text(), { title }));
  console.log(`wrote ${path}`);
}
