/** The flags that were given, read with their types. */
import { EngineError, messageOf } from "../../lib/errors.ts";
import type { FlagDefinition, ParsedFlags } from "../../lib/flags.ts";
import { parseSize } from "../../lib/size.ts";
import { parseDuration } from "../../lib/time.ts";

/** Reads parsed flags. Refusals are pflag's: `invalid argument "x" for "-m, --memory" flag: …`. */
export class FlagReader {
  readonly #parsed: ParsedFlags;
  readonly #definitions: readonly FlagDefinition[];

  constructor(parsed: ParsedFlags, definitions: readonly FlagDefinition[]) {
    this.#parsed = parsed;
    this.#definitions = definitions;
  }

  /** The flag was given, whatever its value. */
  isGiven(name: string): boolean {
    return this.#parsed.switches.has(name) || this.#parsed.values.has(name);
  }

  /** A switch; false when it was not given. */
  isOn(name: string): boolean {
    return this.#parsed.switches.get(name) ?? false;
  }

  /** A switch that is on unless it is turned off. */
  isNotOff(name: string): boolean {
    return this.#parsed.switches.get(name) ?? true;
  }

  /** The last value; "" when there is none. */
  text(name: string): string {
    return this.#parsed.values.get(name)?.at(-1) ?? "";
  }

  /** All values, in order. */
  list(name: string): readonly string[] {
    return this.#parsed.values.get(name) ?? [];
  }

  /** A whole number; `fallback` when it was not given. */
  number(name: string, fallback = 0): number {
    const value = this.#parsed.values.get(name)?.at(-1);
    return value === undefined ? fallback : Number(value);
  }

  /** A size in bytes; 0 when it was not given. */
  sizeBytes(name: string): number {
    return this.read(name, parseSize) ?? 0;
  }

  /** A duration in nanoseconds; 0 when it was not given. */
  durationNs(name: string): number {
    return Number(this.read(name, parseDuration) ?? 0n);
  }

  /** The last value as `parse` reads it; undefined when it was not given. */
  read<T>(name: string, parse: (text: string) => T): T | undefined {
    const value = this.#parsed.values.get(name)?.at(-1);
    return value === undefined ? undefined : this.#parse(name, value, parse);
  }

  /** Every value as `parse` reads it. */
  readAll<T>(name: string, parse: (text: string) => T): readonly T[] {
    return this.list(name).map((value) => this.#parse(name, value, parse));
  }

  #parse<T>(name: string, value: string, parse: (text: string) => T): T {
    try {
      return parse(value);
    } catch (error) {
      if (!(error instanceof EngineError) || error.kind !== "invalid-argument") throw error;
      throw this.refusal(name, value, messageOf(error));
    }
  }

  /** The refusal of a flag's value. */
  refusal(name: string, value: string, reason: string): EngineError {
    const flag = this.#definitions.find((one) => one.name === name);
    const shown = flag?.short === undefined ? `--${name}` : `-${flag.short}, --${name}`;
    return new EngineError(
      "invalid-argument",
      `invalid argument ${JSON.stringify(value)} for "${shown}" flag: ${reason}`,
      { details: { isUsage: true, flag: `--${name}` } },
    );
  }
}
