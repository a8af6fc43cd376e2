/** The password of a private key: from COSIGN_PASSWORD, or asked for on the terminal. */
import { EngineError } from "../../lib/errors.ts";
import type { Invocation } from "../command.ts";
import { isInputTerminal } from "../standard-input.ts";
import { askHidden } from "../registry/ask.ts";

/** Reads the password. @throws invalid-argument when there is nobody to ask */
export async function signingPassword(
  { environment, output }: Pick<Invocation, "environment" | "output">,
  question: string,
): Promise<string> {
  const given = environment.variables["COSIGN_PASSWORD"];
  if (given !== undefined) return given;
  if (!isInputTerminal()) {
    throw new EngineError(
      "invalid-argument",
      "the password of the private key is not known: set COSIGN_PASSWORD (it may be empty)",
    );
  }
  return await askHidden(question, output);
}
