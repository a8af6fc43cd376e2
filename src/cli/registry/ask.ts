/** Questions on the terminal, asked on standard error. */
import { createInterface } from "node:readline";
import { readHiddenLine } from "../../sys/hidden-line.ts";
import type { Output } from "../output.ts";

/** Asks for a line. */
export async function askLine(question: string, output: Output): Promise<string> {
  output.err(question);
  const lines = createInterface({ input: process.stdin });
  const { promise, resolve } = Promise.withResolvers<string>();
  lines.once("line", resolve);
  lines.once("close", () => resolve(""));
  const line = await promise;
  lines.close();
  process.stdin.pause();
  return line;
}

/** Asks for a line that is not shown. @throws canceled at Ctrl-C */
export async function askHidden(question: string, output: Output): Promise<string> {
  output.err(question);
  try {
    return await readHiddenLine();
  } finally {
    output.err("\n");
  }
}
