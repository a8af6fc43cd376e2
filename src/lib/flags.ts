/**
 * Command-line flags with the grammar of Docker's CLI (Go's pflag): `--name value`, `--name=value`,
 * `-n value`, `-nvalue`, grouped short switches (`-itd`), `--switch=false`, `--` ends flags. Refusals
 * use pflag's sentences, which people and scripts know. A library has another grammar or other texts.
 */
import { EngineError } from "./errors.ts";
import { findGoBool } from "./go-bool.ts";

/** How a flag takes its value. */
export type FlagKind = "switch" | "text" | "list" | "number";

/** One flag. */
export interface FlagDefinition {
  /** Long name without dashes. */
  readonly name: string;
  readonly short?: string;
  readonly kind: FlagKind;
  /** What stands for the value in help: `string`, `list`, `bytes`, `duration`. */
  readonly placeholder?: string;
  readonly help: string;
  /** Shown in help when it is not the zero value. */
  readonly fallback?: string;
  readonly isHidden?: boolean;
  /** Another name for this flag's value. */
  readonly aliasOf?: string;
}

/** What was given; only flags that were. */
export interface ParsedFlags {
  readonly switches: ReadonlyMap<string, boolean>;
  readonly values: ReadonlyMap<string, readonly string[]>;
  /** What is no flag, in order. */
  readonly operands: readonly string[];
}

/** How to parse. */
export interface ParseOptions {
  /** Flags end at the first operand, as for `run` and `exec`. */
  readonly stopsAtOperand?: boolean;
}

/** Parses arguments. @throws invalid-argument with pflag's sentence; `details.flag` names the flag */
export function parseFlags(
  args: readonly string[],
  definitions: readonly FlagDefinition[],
  options: ParseOptions = {},
): ParsedFlags {
  const state = new FlagState(args, definitions);
  while (!state.isDone) {
    const argument = state.take();
    if (argument === "--") {
      state.operands.push(...state.rest());
    } else if (argument.startsWith("--")) {
      state.long(argument.slice(2));
    } else if (argument.startsWith("-") && argument !== "-") {
      state.shorts(argument.slice(1));
    } else {
      state.operands.push(argument);
      if (options.stopsAtOperand === true) state.operands.push(...state.rest());
    }
  }
  return state;
}

class FlagState implements ParsedFlags {
  readonly switches = new Map<string, boolean>();
  readonly values = new Map<string, string[]>();
  readonly operands: string[] = [];
  readonly #args: readonly string[];
  readonly #definitions: readonly FlagDefinition[];
  #next = 0;

  constructor(args: readonly string[], definitions: readonly FlagDefinition[]) {
    this.#args = args;
    this.#definitions = definitions;
  }

  get isDone(): boolean {
    return this.#next >= this.#args.length;
  }

  take(): string {
    const argument = this.#args[this.#next] ?? "";
    this.#next += 1;
    return argument;
  }

  rest(): readonly string[] {
    const rest = this.#args.slice(this.#next);
    this.#next = this.#args.length;
    return rest;
  }

  long(text: string): void {
    const equals = text.indexOf("=");
    const name = equals < 0 ? text : text.slice(0, equals);
    if (name === "" || name.startsWith("-")) throw refusal(`bad flag syntax: --${text}`, name);
    const flag = this.#find("name", name);
    if (flag === undefined) throw refusal(`unknown flag: --${name}`, `--${name}`);
    if (equals >= 0) this.#set(flag, { value: text.slice(equals + 1), given: `--${name}` });
    else if (flag.kind === "switch") this.#set(flag, { value: "true", given: `--${name}` });
    else if (this.isDone) throw refusal(`flag needs an argument: --${name}`, `--${name}`);
    else this.#set(flag, { value: this.take(), given: `--${name}` });
  }

  shorts(letters: string): void {
    let rest = letters;
    while (rest !== "") {
      const letter = rest.charAt(0);
      const flag = this.#find("short", letter);
      if (flag === undefined) {
        throw refusal(`unknown shorthand flag: '${letter}' in -${letters}`, `-${letter}`);
      }
      rest = rest.slice(1);
      const given = `-${letter}`;
      if (rest.startsWith("=")) {
        this.#set(flag, { value: rest.slice(1), given });
        return;
      }
      if (flag.kind === "switch") {
        this.#set(flag, { value: "true", given });
        continue;
      }
      if (rest === "" && this.isDone) {
        throw refusal(`flag needs an argument: '${letter}' in -${letters}`, given);
      }
      this.#set(flag, { value: rest === "" ? this.take() : rest, given });
      return;
    }
  }

  /** The last one of that name: a command's own flag stands before one that all have. */
  #find(by: "name" | "short", wanted: string): FlagDefinition | undefined {
    return this.#definitions.findLast((flag) => flag[by] === wanted);
  }

  #set(flag: FlagDefinition, input: { readonly value: string; readonly given: string }): void {
    const { value } = input;
    const name = flag.aliasOf ?? flag.name;
    const shown = flag.short === undefined ? `--${flag.name}` : `-${flag.short}, --${flag.name}`;
    switch (flag.kind) {
      case "switch": {
        const isTrue = findGoBool(value);
        if (isTrue === undefined) {
          const reason = `strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`;
          throw refusal(
            `invalid argument ${JSON.stringify(value)} for "${shown}" flag: ${reason}`,
            shown,
          );
        }
        this.switches.set(name, isTrue);
        return;
      }
      case "number":
        if (!/^[+-]?\d{1,18}$/.test(value)) {
          const reason = `strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`;
          throw refusal(
            `invalid argument ${JSON.stringify(value)} for "${shown}" flag: ${reason}`,
            shown,
          );
        }
        this.values.set(name, [value]);
        return;
      case "text":
        this.values.set(name, [value]);
        return;
      case "list":
        this.values.set(name, [...(this.values.get(name) ?? []), value]);
    }
  }
}

function refusal(sentence: string, flag: string): EngineError {
  return new EngineError("invalid-argument", sentence, { details: { flag, isUsage: true } });
}
