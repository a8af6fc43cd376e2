/** What a command is given on standard input. */
import { isTerminal } from "../sys/process/standard-text.ts";

/** Standard input in pieces. */
export async function* readStandardInput(): AsyncGenerator<Uint8Array> {
  for await (const chunk of process.stdin) yield Buffer.from(chunk as Uint8Array);
}

/** Standard input is a terminal. */
export function isInputTerminal(): boolean {
  return isTerminal(0);
}
