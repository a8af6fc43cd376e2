/** Asks before something is lost. */
import { createInterface } from "node:readline";
import type { Output } from "./output.ts";

/** Asks and reads a line; only "y" and "yes" agree. */
export async function confirm(question: string, output: Output): Promise<boolean> {
  output.out(`${question}\nAre you sure you want to continue? [y/N] `);
  const lines = createInterface({ input: process.stdin });
  const answer = await new Promise<string>((resolve) => {
    lines.once("line", resolve);
    lines.once("close", () => {
      resolve("");
    });
  });
  lines.close();
  process.stdin.pause();
  return /^y(es)?$/i.test(answer.trim());
}
