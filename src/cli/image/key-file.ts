/** The file of a key. */
import { readFileSync } from "node:fs";
import { codeOf, EngineError } from "../../lib/errors.ts";
import type { FlagReader } from "../flag/flag-reader.ts";

/** Reads the file that `--key` names. @throws invalid-argument when there is none */
export function readKeyFile(flags: FlagReader, command: string): string {
  const path = flags.text("key");
  if (path === "") throw new EngineError("invalid-argument", `${command}: --key is missing`);
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const reason = codeOf(error) === "ENOENT" ? "no such file" : String(codeOf(error));
    throw new EngineError("invalid-argument", `read key ${path}: ${reason}`, { cause: error });
  }
}
