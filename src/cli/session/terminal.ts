/** The terminal a session runs on: raw mode, size, what puts it back. */
import { isTerminal } from "../../sys/process/standard-text.ts";

/** Rows and columns. */
export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
}

/** Size of the terminal that output goes to; undefined when it is none. */
export function terminalSize(): TerminalSize | undefined {
  if (!isTerminal(1)) return undefined;
  const [columns, rows] = process.stdout.getWindowSize();
  return columns > 0 && rows > 0 ? { rows, columns } : undefined;
}

/**
 * Puts the terminal of standard input into raw mode until the returned function is called. The
 * terminal is put back as well when the process ends in any way that can be noticed.
 */
export function enterRawMode(): () => void {
  if (!isTerminal(0)) return () => undefined;
  process.stdin.setRawMode(true);
  // Node's raw mode still turns each newline of the output into two characters, which moves the
  // cursor of full-screen programs. Where stty is missing, that is what remains.
  const { spawnSync } = process.getBuiltinModule("node:child_process");
  spawnSync("stty", ["-opost"], { stdio: ["inherit", "ignore", "ignore"] });
  let isRaw = true;
  const restore = (): void => {
    if (!isRaw) return;
    isRaw = false;
    process.stdin.setRawMode(false);
    process.off("exit", restore);
  };
  process.on("exit", restore);
  return restore;
}

const defaultKeys = Uint8Array.of(16, 17);
const controls = "@abcdefghijklmnopqrstuvwxyz[\\]^_";

/** Reads detach keys ("ctrl-p,ctrl-q", "a"); what is none of them means the default ones. */
export function parseDetachKeys(text: string): Uint8Array {
  if (text === "") return defaultKeys;
  const bytes: number[] = [];
  for (const key of text.split(",")) {
    const control = /^ctrl-(.)$/.exec(key)?.[1]?.toLowerCase();
    const code = control === undefined ? -1 : controls.indexOf(control);
    if (code >= 0) bytes.push(code);
    else if (key.length === 1) bytes.push(key.charCodeAt(0));
    else return defaultKeys;
  }
  return Uint8Array.from(bytes);
}

/** Watches typed bytes for the detach keys. */
export class DetachWatch {
  readonly #keys: Uint8Array;
  #matched = 0;

  constructor(keys: Uint8Array) {
    this.#keys = keys;
  }

  /** Takes typed bytes. @returns what is to be sent; `isDetach` when the keys are complete */
  push(chunk: Uint8Array): { readonly send: Uint8Array; readonly isDetach: boolean } {
    const send: number[] = [];
    for (const byte of chunk) {
      if (byte === this.#keys[this.#matched]) {
        this.#matched += 1;
        if (this.#matched === this.#keys.length) {
          return { send: Uint8Array.from(send), isDetach: true };
        }
        continue;
      }
      send.push(...this.#keys.subarray(0, this.#matched));
      this.#matched = byte === this.#keys[0] ? 1 : 0;
      if (this.#matched === 0) send.push(byte);
    }
    return { send: Uint8Array.from(send), isDetach: false };
  }
}
