/** Questions on the terminal, asked on standard error. */
import { createInterface } from "node:readline";
import { EngineError } from "../../lib/errors.ts";
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
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let typed = "";
  const onData = (chunk: Buffer): void => {
    for (const key of chunk.toString("utf8")) {
      if (key === "\r" || key === "\n") resolve(typed);
      else if (key === "\x03") reject(new EngineError("canceled", "interrupted"));
      else if (key === "\x7f" || key === "\b") typed = typed.slice(0, -1);
      else typed += key;
    }
  };
  process.stdin.setRawMode(true);
  process.stdin.on("data", onData).resume();
  try {
    return await promise;
  } finally {
    process.stdin.off("data", onData).pause();
    process.stdin.setRawMode(false);
    output.err("\n");
  }
}
