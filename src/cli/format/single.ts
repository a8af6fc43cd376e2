/** `--format` of one value: `json` or a template. */
import { EngineError, messageOf } from "../../lib/errors.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { unescapeFormat } from "./listing.ts";

/** Renders values by a format that is not empty. */
export async function compileFormat(
  format: string,
  options: { readonly isTerminal: boolean; readonly typeName: string },
): Promise<(value: unknown) => string> {
  const [{ compileTemplate }, { missingMember }] = await Promise.all([
    import("../template/evaluate.ts"),
    import("../template/optional-members.ts"),
  ]);
  const source = format === "json" ? "{{json .}}" : unescapeFormat(format);
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
  const { typeName, isTerminal } = options;
  const template = guarded(() =>
    compileTemplate(source, { typeName, missingField: missingMember }),
  );
  return (value) => {
    const text = guarded(() => template.execute(value));
    return `${isTerminal ? escapeControls(text, { keep: "\n\t" }) : text}\n`;
  };
}
