import { EngineError } from "../../lib/errors.ts";

/** `signal(7)`; the same on amd64 and arm64. Index is the number less one. */
const names: readonly string[] = (
  "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP " +
  "TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
).split(" ");
const aliases: ReadonlyMap<string, number> = new Map([
  ["IOT", 6],
  ["CLD", 17],
  ["POLL", 29],
  ["UNUSED", 31],
]);
/** The two below are the C library's own. */
const realtimeMin = 34;
const realtimeMax = 64;

/**
 * The number of a signal given as `SIGKILL`, `kill`, `9`, `RTMIN+3`, `SIGRTMAX-1`.
 *
 * @throws invalid-argument, in Docker's words, for anything else
 */
export function signalNumber(signal: string): number {
  if (/^\d{1,3}$/.test(signal)) {
    const number = Number(signal);
    if (number >= 1 && number <= realtimeMax) return number;
  }
  const name = signal.toUpperCase().replace(/^SIG/, "");
  const index = names.indexOf(name);
  const number = index >= 0 ? index + 1 : (aliases.get(name) ?? realtimeNumber(name));
  if (number !== undefined) return number;
  throw new EngineError("invalid-argument", `invalid signal: ${signal}`);
}

function realtimeNumber(name: string): number | undefined {
  const [, base, offset = ""] = /^(RTMIN|RTMAX)((?:[+-]\d{1,2})?)$/.exec(name) ?? [];
  if (base === undefined) return undefined;
  const number = (base === "RTMIN" ? realtimeMin : realtimeMax) + Number(offset || 0);
  return number >= realtimeMin && number <= realtimeMax ? number : undefined;
}

/** The name of a signal (`9` → `SIGKILL`, `37` → `SIGRTMIN+3`); `SIG<number>` for one without. */
export function signalName(number: number): string {
  const name = names[number - 1];
  if (name !== undefined) return `SIG${name}`;
  if (number < realtimeMin || number > realtimeMax) return `SIG${number}`;
  return number === realtimeMin ? "SIGRTMIN" : `SIGRTMIN+${number - realtimeMin}`;
}
