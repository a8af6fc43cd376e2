/**
 * Lists in the forms that `--format` names: the default table, `table TEMPLATE`, `json`, `raw`, or a
 * template.
 */
import { EngineError, messageOf } from "../../lib/errors.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { alignCells } from "./table.ts";

/** What a list of `T` can show. */
export interface Listing<T> {
  /** Values by field name; a function of a row is a method of the template. */
  readonly fields: Readonly<Record<string, (item: T) => unknown>>;
  /** Column heads by field name. */
  readonly headers: Readonly<Record<string, string>>;
  /** Fields of the default table. */
  readonly columns: readonly string[];
  /** What the default table shows where a field is empty, by its name. */
  readonly blanks?: Readonly<Record<string, string>>;
  /** Field that `--quiet` prints. */
  readonly quiet: string;
  /** Fields that `json` prints; all that are no methods when omitted. */
  readonly jsonFields?: readonly string[];
  /** What the rows' type is called in messages. */
  readonly typeName: string;
}

/** How to list. */
export interface ListOptions {
  readonly format: string;
  readonly isQuiet?: boolean;
  /** Where it goes: what a terminal may act on is escaped. */
  readonly output: { readonly isTerminal: boolean };
}

/** Renders rows; the text ends with a newline unless it is empty. */
export async function renderList<T>(
  items: readonly T[],
  listing: Listing<T>,
  options: ListOptions,
): Promise<string> {
  const { format } = options;
  if (format === "" || format === "table") {
    return options.isQuiet === true ? renderQuiet(items, listing) : renderTable(items, listing);
  }
  const { compileTemplate } = await import("../template/evaluate.ts");
  const isTable = /^table\s/.test(format);
  const source = format === "json" ? "{{json .}}" : unescapeFormat(format.replace(/^table\s+/, ""));
  const safe = (text: string): string =>
    isTable || options.output.isTerminal ? escapeControls(text, { keep: "\n\t" }) : text;
  const template = await guarded("failed to parse template", () =>
    compileTemplate(source, { typeName: `*formatter.${listing.typeName}` }),
  );
  const rows = await guarded("failed to execute template", () =>
    items.map((item) => `${safe(template.execute(rowOf(item, listing)))}\n`),
  );
  if (!isTable) return rows.join("");
  const head = await guarded("failed to execute template", () =>
    compileTemplate(source, { missingField: () => "<no value>" }).execute(listing.headers),
  );
  return alignCells([`${head}\n`, ...rows].join(""));
}

/** `\t` and `\n` as people write them in a shell. */
export function unescapeFormat(format: string): string {
  return format.replace(/\\([tn])/g, (_, letter: string) => (letter === "t" ? "\t" : "\n"));
}

function renderQuiet<T>(items: readonly T[], listing: Listing<T>): string {
  const field = listing.fields[listing.quiet];
  return items.map((item) => `${cell(field?.(item))}\n`).join("");
}

function renderTable<T>(items: readonly T[], listing: Listing<T>): string {
  const { columns, headers, fields, blanks = {} } = listing;
  let text = "";
  for (const name of columns) text += `${text === "" ? "" : "\t"}${headers[name] ?? name}`;
  for (const item of items) {
    let separator = "\n";
    for (const name of columns) {
      text += `${separator}${cell(fields[name]?.(item)) || (blanks[name] ?? "")}`;
      separator = "\t";
    }
  }
  return `${alignCells(text)}\n`;
}

function cell(value: unknown): string {
  return escapeControls(typeof value === "string" ? value : String(value ?? ""));
}

/** Renders one value by a template, or as `json`; the text ends with a newline. */
export async function renderValue(
  value: object,
  options: ListOptions & { readonly typeName: string },
): Promise<string> {
  const { compileTemplate } = await import("../template/evaluate.ts");
  const { format, output, typeName } = options;
  const source = format === "json" ? "{{json .}}" : unescapeFormat(format);
  const template = await guarded("failed to parse template", () =>
    compileTemplate(source, { typeName: `*formatter.${typeName}` }),
  );
  const text = await guarded("failed to execute template", () => template.execute(value));
  return `${output.isTerminal ? escapeControls(text, { keep: "\n\t" }) : text}\n`;
}

/** A row for a template: fields are read when they are asked for. */
export function rowOf<T>(item: T, listing: Listing<T>): object {
  const row: object = {};
  const jsonFields = listing.jsonFields ?? Object.keys(listing.fields);
  for (const name of Object.keys(listing.fields).sort()) {
    Object.defineProperty(row, name, {
      enumerable: jsonFields.includes(name),
      get: () => listing.fields[name]?.(item),
    });
  }
  return row;
}

async function guarded<T>(prefix: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof EngineError) || error.details["isTemplate"] !== true) throw error;
    throw new EngineError("invalid-argument", `${prefix}: ${messageOf(error)}`, { cause: error });
  }
}
