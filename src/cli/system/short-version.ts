/** `tug --version`. */
import { tugVersion } from "../build-version.ts";
import type { Output } from "../output.ts";

/** Prints one line. @returns the exit code */
export function printShortVersion(output: Output): number {
  output.out(`Tug version ${tugVersion}\n`);
  return 0;
}
