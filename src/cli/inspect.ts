/** What all `inspect` commands do: raw JSON of each thing, indented, or a template on it. */
import { EngineError, messageOf } from "../lib/errors.ts";
import type { Invocation } from "./command.ts";
import { describeFailure, failureCode } from "./errors.ts";
import { unescapeFormat } from "./format/listing.ts";
import { indentJson } from "./format/json.ts";
import { escapeControls } from "../lib/terminal-text.ts";

/**
 * Prints things.
 *
 * What can be found is printed before the failures are told, as Docker does.
 *
 * @param find reads the JSON text of one thing
 */
export async function inspectAll(
  invocation: Pick<Invocation, "operands" | "flags" | "output">,
  find: (name: string) => Promise<string>,
): Promise<number> {
  const { operands, flags, output } = invocation;
  const format = unescapeFormat(flags.text("format"));
  const render = format === "" ? undefined : await compileRender(format, output.isTerminal);
  const texts: string[] = [];
  const failures: unknown[] = [];
  for (const name of operands) {
    try {
      texts.push(await find(name));
    } catch (error) {
      if (!(error instanceof EngineError) || error.details["isConnect"] === true) throw error;
      failures.push(error);
    }
  }
  if (render === undefined) output.out(`${indentJson(`[${texts.join(",")}]`)}\n`);
  else if (texts.length === 0) output.out("\n");
  else output.out(texts.map((text) => `${render(text)}\n`).join(""));
  for (const failure of failures) output.err(`${describeFailure(failure)}\n`);
  return failures.length === 0 ? 0 : failureCode;
}

/** Compiles an inspect format: a function from a thing's JSON to its line. */
export async function compileRender(
  format: string,
  isTerminal: boolean,
): Promise<(json: string) => string> {
  const [{ compileTemplate }, { missingMember }] = await Promise.all([
    import("./template/evaluate.ts"),
    import("./template/optional-members.ts"),
  ]);
  const source = format === "json" ? "{{json .}}" : format;
  const guarded = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof EngineError) || error.details["isTemplate"] !== true) throw error;
      throw new EngineError("invalid-argument", `template parsing error: ${messageOf(error)}`, {
        cause: error,
      });
    }
  };
  const template = guarded(() => compileTemplate(source, { missingField: missingMember }));
  return (json) => {
    const value: unknown = JSON.parse(json);
    const text = guarded(() => template.execute(value));
    return isTerminal ? escapeControls(text, { keep: "\n\t" }) : text;
  };
}
