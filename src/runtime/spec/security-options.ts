import { EngineError } from "../../lib/errors.ts";
import { findGoBool } from "../../lib/go-bool.ts";

/** What `--security-opt` asks for, taken together. */
export interface SecurityOptions {
  /** Undefined: the engine's default. */
  readonly hasNoNewPrivileges?: boolean;
  /** `custom`: `json` is the text of a profile. Undefined: by default, or none when privileged. */
  readonly seccomp?:
    | { readonly kind: "builtin" }
    | { readonly kind: "unconfined" }
    | { readonly kind: "custom"; readonly json: string };
  readonly apparmorProfile?: string;
  /** SELinux: `disable`, `type:x`, …; of no effect where SELinux is off. */
  readonly labels: readonly string[];
  readonly isSystemPathsUnconfined: boolean;
  readonly hasWritableCgroups: boolean;
}

/**
 * Parses security options as given: `key=value`, the older `key:value`, or a word.
 *
 * @throws invalid-argument in Docker's words, for what is no such option
 */
export function parseSecurityOptions(given: readonly string[]): SecurityOptions {
  const labels: string[] = [];
  const parsed: { -readonly [K in keyof SecurityOptions]: SecurityOptions[K] } = {
    labels,
    isSystemPathsUnconfined: false,
    hasWritableCgroups: false,
  };
  for (const option of given) {
    const [key, value] = split(option);
    switch (key) {
      case "no-new-privileges":
        parsed.hasNoNewPrivileges = value === undefined ? true : parseBoolean(value, option);
        break;
      case "writable-cgroups":
        parsed.hasWritableCgroups = value === undefined ? true : parseBoolean(value, option);
        break;
      case "seccomp":
        parsed.seccomp = parseSeccomp(required(value, option));
        break;
      case "apparmor":
        parsed.apparmorProfile = required(value, option);
        break;
      case "label":
        labels.push(required(value, option));
        break;
      case "systempaths":
        if (value !== "unconfined") throw refused(option);
        parsed.isSystemPathsUnconfined = true;
        break;
      default:
        throw refused(option);
    }
  }
  return parsed;
}

function split(option: string): readonly [key: string, value: string | undefined] {
  const equals = option.indexOf("=");
  const at = equals === -1 ? option.indexOf(":") : equals;
  return at === -1 ? [option, undefined] : [option.slice(0, at), option.slice(at + 1)];
}

function parseSeccomp(value: string): NonNullable<SecurityOptions["seccomp"]> {
  if (value === "unconfined") return { kind: "unconfined" };
  if (value === "builtin") return { kind: "builtin" };
  return { kind: "custom", json: value };
}

function parseBoolean(value: string, option: string): boolean {
  const isOn = findGoBool(value);
  if (isOn === undefined) throw refused(option);
  return isOn;
}

function required(value: string | undefined, option: string): string {
  if (value === undefined) throw refused(option);
  return value;
}

function refused(option: string): EngineError {
  const form = /[=:]/.test(option) ? 2 : 1;
  return new EngineError(
    "invalid-argument",
    `invalid --security-opt ${form}: ${JSON.stringify(option)}`,
  );
}
