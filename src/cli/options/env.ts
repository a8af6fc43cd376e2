/** Environment variables and labels: from flags and from files of lines. */
import { codeOf } from "../../lib/errors.ts";
import { fault } from "./fault.ts";
import { splitPair } from "./key-values.ts";

/** Largest file of variables or labels that is read. */
const fileMaxBytes = 16 * 1024 * 1024;

type Variables = Readonly<Record<string, string | undefined>>;

/** Reads `-e`: `NAME=value`, or `NAME` for this process's own value. */
export function parseEnv(text: string, variables: Variables): string {
  if (text.startsWith("=") || text === "") throw fault(`invalid environment variable: ${text}`);
  if (text.includes("=")) return text;
  const own = variables[text];
  return own === undefined ? text : `${text}=${own}`;
}

/** Reads `-l`. */
export function parseLabel(text: string): string {
  if (splitPair(text)[0].trim() === "") throw fault(`invalid label '${text}': empty name`);
  return text;
}

/** Reads a file of variables; a name alone takes this process's value, if it has one. */
export function readEnvFile(path: string, variables: Variables): readonly string[] {
  return readLines(path).flatMap((line) => {
    if (line.includes("=")) return [line];
    const own = variables[line];
    return own === undefined ? [] : [`${line}=${own}`];
  });
}

/** Reads a file of labels; a name alone is none. */
export function readLabelFile(path: string): readonly string[] {
  return readLines(path).filter((line) => line.includes("="));
}

function readLines(path: string): readonly string[] {
  const bytes = readBytes(path);
  if (bytes.length > fileMaxBytes) throw fault(`open ${path}: larger than ${fileMaxBytes} bytes`);
  const text = bytes.toString("utf8").replace(/^\uFEFF/, "");
  const lines: string[] = [];
  for (const [at, raw] of text.split("\n").entries()) {
    if (raw.includes("\uFFFD"))
      throw fault(
        `env file ${path} contains invalid utf8 bytes at line ${at + 1}: ${JSON.stringify(raw)}`,
      );
    const line = raw.replace(/\r$/, "").trimStart();
    if (line === "" || line.startsWith("#")) continue;
    const name = splitPair(line)[0];
    if (name === "") throw fault(`invalid env file (${path}): no variable name on line '${line}'`);
    if (/[ \t]/.test(line.includes("=") ? name : name.trimEnd())) {
      throw fault(`invalid env file (${path}): variable '${name}' contains whitespaces`);
    }
    lines.push(line.includes("=") ? line : name.trimEnd());
  }
  return lines;
}

function readBytes(path: string): Buffer {
  try {
    return process.getBuiltinModule("node:fs").readFileSync(path);
  } catch (error) {
    throw fault(`open ${path}: ${describeCode(error)}`, error);
  }
}

/** What Go says for a system error. */
export function describeCode(error: unknown): string {
  const texts: Readonly<Record<string, string>> = {
    ENOENT: "no such file or directory",
    EACCES: "permission denied",
    EISDIR: "is a directory",
    ENOTDIR: "not a directory",
    EEXIST: "file exists",
  };
  const code = codeOf(error) ?? "";
  return texts[code] ?? (code === "" ? "cannot be read" : code);
}
