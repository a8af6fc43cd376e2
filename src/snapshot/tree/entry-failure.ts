import { EngineError } from "../../lib/errors.ts";
import { decodeByteString, type TarHeader } from "../../lib/tar/tar-header.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { systemFailure } from "../../sys/libc.ts";
import { type CallResult, resultCode } from "./tree-syscalls.ts";

/** Errors that the names and types in an archive bring about. */
const archiveErrors: ReadonlySet<string> = new Set([
  "EEXIST",
  "EINVAL",
  "EISDIR",
  "ELOOP",
  "EMLINK",
  "ENAMETOOLONG",
  "ENOENT",
  "ENOTDIR",
  "ENOTEMPTY",
  "EXDEV",
]);

/** The failure of a system call made for an entry. */
export function failure(header: TarHeader, value: CallResult): EngineError {
  const cause = systemFailure(-value, `unpack ${shown(header.name)}`);
  if (!archiveErrors.has(resultCode(value))) return cause;
  return new EngineError("invalid-argument", cause.message, { cause, details: cause.details });
}

/** The result of a call made for an entry. @throws its failure when it is negative */
export function checked(header: TarHeader, value: CallResult): number {
  if (value >= 0) return value;
  throw failure(header, value);
}

/** The refusal of an entry. */
export function refused(header: TarHeader, what: string): EngineError {
  return new EngineError("invalid-argument", `unpack ${shown(header.name)}: ${what}`);
}

/** A name from an archive, for people. */
export function shown(name: string): string {
  return JSON.stringify(escapeControls(decodeByteString(name.slice(0, 256))));
}
