/**
 * Small text files for programs that live a few milliseconds: node:fs takes one to load.
 *
 * @see fs.ts for all else that is done with files
 */
import { codeOf } from "../../lib/errors.ts";

/**
 * Reads a text file whole.
 *
 * @returns undefined when it is not there, may not be looked at, or is empty
 * @throws the system's error when it is there and cannot be read
 */
export async function findText(path: string): Promise<string | undefined> {
  const file = Bun.file(path);
  if (file.size === 0) return undefined;
  try {
    return await file.text();
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
