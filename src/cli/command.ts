/**
 * What a command of `tug` is.
 *
 * A command declares its flags and operands and does one thing through the engine's API; it prints
 * and decides nothing. One file holds one command; commands.ts is the table of all.
 *
 *   argv → cli.ts (global flags, table) → command file → client → engine
 */
import type { FlagDefinition } from "../lib/flags.ts";
import type { Transport } from "../client/transport.ts";
import type { Environment } from "./environment.ts";
import type { FlagReader } from "./flag/flag-reader.ts";
import type { Output } from "./output.ts";

/** What a shell may be offered for an operand or a flag's value. */
export type CompletionSource =
  | "containers"
  | "running"
  | "images"
  | "volumes"
  | "networks"
  | "contexts"
  | "none";

/** One command. */
export interface Command {
  /** What follows the command's name in its usage: `[OPTIONS] CONTAINER`. */
  readonly usage: string;
  readonly flags: readonly FlagDefinition[];
  /** How many operands it takes. */
  readonly operands: { readonly min: number; readonly max: number };
  /** Flags end at the first operand. */
  readonly stopsAtOperand?: boolean;
  /** More help than the table's line. */
  readonly details?: string;
  readonly completes?: CompletionSource;
  /** @returns the exit code */
  run(invocation: Invocation): Promise<number>;
}

/** One call of a command. */
export interface Invocation {
  readonly operands: readonly string[];
  readonly flags: FlagReader;
  readonly output: Output;
  readonly environment: Environment;
  /** The command as it was called: `tug ps`. */
  readonly name: string;
  /** The engine of the flags, the environment or the current context. */
  engine(): Promise<Transport>;
}

/** Any number of operands from `min` on. */
export function atLeast(min: number): { readonly min: number; readonly max: number } {
  return { min, max: Number.POSITIVE_INFINITY };
}

/** Exactly that many operands. */
export function exactly(count: number): { readonly min: number; readonly max: number } {
  return { min: count, max: count };
}

/** Between two numbers of operands. */
export function between(min: number, max: number): { readonly min: number; readonly max: number } {
  return { min, max };
}
