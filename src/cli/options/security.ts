/** `--security-opt`, and the modes that the client itself checks. */
import { messageOf } from "../../lib/errors.ts";
import { describeCode } from "./env.ts";
import { fault } from "./fault.ts";
import { splitPair } from "./key-values.ts";

/** Security options as a create request has them. */
export interface SecurityRequest {
  readonly options: readonly string[] | null;
  /** `systempaths=unconfined`: mask and protect nothing. */
  readonly exposesSystemPaths: boolean;
}

/** Reads all `--security-opt`; a seccomp profile is read here, for the engine may be elsewhere. */
export function parseSecurity(values: readonly string[]): SecurityRequest {
  if (values.length === 0) return { options: null, exposesSystemPaths: false };
  const options: string[] = [];
  let exposesSystemPaths = false;
  for (const text of values) {
    if (text === "systempaths=unconfined") {
      exposesSystemPaths = true;
      continue;
    }
    const isPair = /[=:]/.test(text);
    if (!isPair && text !== "no-new-privileges")
      throw fault(`Invalid --security-opt: ${JSON.stringify(text)}`);
    const [key, value] = splitPair(text);
    const isProfile = key === "seccomp" && value !== "unconfined" && value !== "builtin";
    options.push(isProfile ? `seccomp=${readProfile(value)}` : text);
  }
  return { options, exposesSystemPaths };
}

/** Adds `CAP_` and writes in capitals, as the engine does. */
export function normaliseCapability(text: string): string {
  const name = text.toUpperCase().trim();
  return name === "ALL" || name.startsWith("CAP_") ? name : `CAP_${name}`;
}

/** Checks `--pid`, `--uts`, `--userns`, `--cgroupns`. */
export function checkMode(flag: string, value: string): string {
  const rules: Readonly<Record<string, readonly [RegExp, string]>> = {
    pid: [/^(host|container:.+)?$/, "--pid: invalid PID mode"],
    uts: [/^(host)?$/, "--uts: invalid UTS mode"],
    userns: [/^(host)?$/, "--userns: invalid USER mode"],
    cgroupns: [/^(host|private)?$/, "--cgroupns: invalid CGROUP mode"],
  };
  const rule = rules[flag];
  if (rule !== undefined && !rule[0].test(value)) throw fault(rule[1]);
  return value;
}

function readProfile(path: string): string {
  let text: string;
  try {
    text = process.getBuiltinModule("node:fs").readFileSync(path, "utf8");
  } catch (error) {
    throw fault(
      `opening seccomp profile (${path}) failed: open ${path}: ${describeCode(error)}`,
      error,
    );
  }
  try {
    JSON.parse(text);
  } catch (error) {
    throw fault(`compacting json for seccomp profile (${path}) failed: ${messageOf(error)}`, error);
  }
  // Spaces outside of strings go; numbers and escapes stay as they are written.
  return text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, (_, quoted: string | undefined) => quoted ?? "");
}
