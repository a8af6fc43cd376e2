/**
 * Carries out a template on a value.
 *
 * A value is what JSON holds; a function in a record is a method, called with the words that follow
 * it. How a missing member is seen is the caller's choice (`field`).
 */
import { isKind, messageOf } from "../../lib/errors.ts";
import { arity, callMethod, entriesOf, isMethod, shown, wantText } from "./calls.ts";
import { argumentFault, templateFunctions } from "./functions.ts";
import { formatGo, GoNil, isRecord, isTrue, noValue } from "./go-value.ts";
import { parseTemplate } from "./parse.ts";
import type { Command, Node, Operand, Pipeline, Place } from "./syntax.ts";
import { templateFault } from "./syntax.ts";

/** Most text that one template may make. */
const outputMaxLength = 64 * 1024 * 1024;

/** A template that can be carried out many times. */
export interface Template {
  /** @throws invalid-argument with Go's sentence */
  execute(data: unknown): string;
}

/** How a template sees its data. */
export interface TemplateOptions {
  /**
   * Reads a member that the record does not have.
   *
   * @returns undefined to fail with "can't evaluate field"; a function is called as a method
   */
  readonly missingField?: (record: object, name: string) => unknown;
  /** What the data's type is called in messages. */
  readonly typeName?: string;
  readonly functions?: ReadonlyMap<string, (...values: readonly unknown[]) => unknown>;
}

/** Reads a template. @throws invalid-argument with Go's sentence */
export function compileTemplate(source: string, options: TemplateOptions = {}): Template {
  const functions = new Map([...templateFunctions, ...(options.functions ?? [])]);
  const nodes = parseTemplate(source, new Set(functions.keys()));
  return {
    execute(data) {
      const run = new Run(functions, options, data);
      run.walk(nodes, data);
      return run.output;
    },
  };
}

interface Variable {
  readonly name: string;
  value: unknown;
}

type Flow = "break" | "continue" | undefined;

class Run {
  output = "";
  readonly #functions: ReadonlyMap<string, (...values: readonly unknown[]) => unknown>;
  readonly #options: TemplateOptions;
  readonly #variables: Variable[];

  constructor(
    functions: ReadonlyMap<string, (...values: readonly unknown[]) => unknown>,
    options: TemplateOptions,
    data: unknown,
  ) {
    this.#functions = functions;
    this.#options = options;
    this.#variables = [{ name: "$", value: data }];
  }

  walk(nodes: readonly Node[], dot: unknown): Flow {
    for (const node of nodes) {
      const flow = this.#node(node, dot);
      if (flow !== undefined) return flow;
    }
    return undefined;
  }

  #node(node: Node, dot: unknown): Flow {
    switch (node.kind) {
      case "text":
        this.#print(node.text);
        return undefined;
      case "action": {
        const value = this.#pipeline(node.pipeline, dot);
        if (node.pipeline.variables.length === 0) this.#print(shown(value));
        return undefined;
      }
      case "break":
      case "continue":
        return node.kind;
      case "range":
        return this.#scoped(() => this.#range(node, dot));
      case "if":
      case "with":
        return this.#scoped(() => {
          const value = this.#pipeline(node.pipeline, dot);
          const inner = node.kind === "with" ? value : dot;
          return isTrue(value) ? this.walk(node.body, inner) : this.walk(node.otherwise, dot);
        });
    }
  }

  #scoped(body: () => Flow): Flow {
    const known = this.#variables.length;
    const flow = body();
    this.#variables.length = known;
    return flow;
  }

  #range(node: Extract<Node, { kind: "if" | "range" | "with" }>, dot: unknown): Flow {
    const { pipeline } = node;
    const value = this.#commands(pipeline, dot);
    const entries = entriesOf(value);
    if (entries === undefined)
      throw this.#fault(pipeline.commands[0], `range can't iterate over ${formatGo(value)}`);
    if (entries.length === 0) return this.walk(node.otherwise, dot);
    for (const [key, member] of entries) {
      const flow = this.#scoped(() => {
        this.#bindRange(pipeline, key, member);
        return this.walk(node.body, member);
      });
      if (flow === "break") break;
    }
    return undefined;
  }

  #bindRange(pipeline: Pipeline, key: unknown, member: unknown): void {
    const [first, second] = pipeline.variables;
    const bind = (name: string, value: unknown): void => {
      if (pipeline.isAssignment) this.#assign(name, value);
      else this.#variables.push({ name, value });
    };
    if (first !== undefined) bind(first, second === undefined ? member : key);
    if (second !== undefined) bind(second, member);
  }

  #pipeline(pipeline: Pipeline, dot: unknown): unknown {
    const value = this.#commands(pipeline, dot);
    for (const name of pipeline.variables) {
      if (pipeline.isAssignment) this.#assign(name, value);
      else this.#variables.push({ name, value });
    }
    return value;
  }

  #commands(pipeline: Pipeline, dot: unknown): unknown {
    let value: unknown;
    for (const [at, command] of pipeline.commands.entries()) {
      value = this.#command(command, { dot, piped: at === 0 ? [] : [value] });
    }
    return value;
  }

  #command(
    command: Command,
    input: { readonly dot: unknown; readonly piped: readonly unknown[] },
  ): unknown {
    const [first, ...rest] = command.operands;
    if (first?.kind === "function") {
      return this.#call(command, { name: first.name, rest, ...input });
    }
    if (first === undefined) return noValue;
    if (first.kind !== "field" && first.kind !== "variable" && first.kind !== "group") {
      if (rest.length > 0)
        throw this.#fault(command, `can't give argument to non-function ${command.text}`);
      return this.#value(first, input.dot, []);
    }
    const values = [...rest.map((operand) => this.#value(operand, input.dot, [])), ...input.piped];
    return this.#value(first, input.dot, values);
  }

  #call(
    command: Command,
    input: {
      readonly name: string;
      readonly rest: readonly Operand[];
      readonly dot: unknown;
      readonly piped: readonly unknown[];
    },
  ): unknown {
    const { name, rest, dot, piped } = input;
    if (name === "and" || name === "or") {
      let value: unknown = noValue;
      for (const operand of rest) {
        value = this.#value(operand, dot, []);
        if (isTrue(value) === (name === "or")) return value;
      }
      return piped.length > 0 ? piped[0] : value;
    }
    const call = this.#functions.get(name);
    const values = [...rest.map((operand) => this.#value(operand, dot, [])), ...piped];
    if (call === undefined)
      throw this.#fault(command, `${JSON.stringify(name)} is not a defined function`);
    const wanted = arity[name];
    if (wanted !== undefined && (values.length < wanted[0] || values.length > wanted[1])) {
      throw this.#fault(
        command,
        `wrong number of args for ${name}: want ${wantText(wanted)} got ${values.length}`,
      );
    }
    try {
      return call(...values);
    } catch (error) {
      if (!isKind(error, "invalid-argument")) throw error;
      throw this.#fault(command, `error calling ${name}: ${messageOf(error)}`);
    }
  }

  #value(operand: Operand, dot: unknown, values: readonly unknown[]): unknown {
    switch (operand.kind) {
      case "literal":
        return operand.value;
      case "dot":
        return dot;
      case "nil":
        return new GoNil("<nil>");
      case "field":
        return this.#fields(dot, { ...operand, values, text: `.${operand.names.join(".")}` });
      case "variable": {
        const variable = this.#variables.findLast((one) => one.name === operand.name);
        const text = [operand.name, ...operand.names].join(".");
        return this.#fields(variable?.value, { ...operand, values, text });
      }
      case "group": {
        const value = this.#pipeline(operand.pipeline, dot);
        const text = `(…).${operand.names.join(".")}`;
        return this.#fields(value, { ...operand, values, text });
      }
      case "function":
        return this.#call(
          { operands: [operand], place: operand.place, text: operand.name },
          { name: operand.name, rest: [], dot, piped: [] },
        );
    }
  }

  #fields(
    start: unknown,
    chain: {
      readonly names: readonly string[];
      readonly values: readonly unknown[];
      readonly place: Place;
      readonly text: string;
    },
  ): unknown {
    let value = start;
    for (const [at, name] of chain.names.entries()) {
      const isLast = at === chain.names.length - 1;
      const fail = (problem: string): never => {
        throw templateFault(chain.place, `executing "" at <${chain.text}>: ${problem}`);
      };
      value = this.#field(value, name, fail);
      if (isMethod(value)) {
        value = callMethod(value, isLast ? chain.values : [], (reason) =>
          fail(`error calling ${name}: ${reason}`),
        );
      } else if (isLast && chain.values.length > 0) {
        fail(`${name} has arguments but cannot be invoked as function`);
      }
    }
    return value === undefined || value === null ? new GoNil("<no value>") : value;
  }

  #field(value: unknown, name: string, fail: (problem: string) => never): unknown {
    if (isRecord(value)) {
      if (Object.hasOwn(value, name)) {
        const member = value[name];
        if (member !== null) return member;
      }
      const found = this.#options.missingField?.(value, name);
      if (found !== undefined) return found;
      if (Object.hasOwn(value, name)) return new GoNil("<nil>");
      if (this.#options.typeName === undefined)
        return fail(`map has no entry for key ${JSON.stringify(name)}`);
      return fail(`can't evaluate field ${name} in type ${this.#options.typeName}`);
    }
    if (value instanceof GoNil || value === null || value === undefined) {
      if (value === noValue || (value instanceof GoNil && value.text === "map[]")) return noValue;
      return fail(`nil pointer evaluating interface {}.${name}`);
    }
    return fail(`can't evaluate field ${name} in type interface {}`);
  }

  #assign(name: string, value: unknown): void {
    const variable = this.#variables.findLast((one) => one.name === name);
    if (variable !== undefined) variable.value = value;
  }

  #fault(command: Command | undefined, problem: string): Error {
    const place = command?.place ?? { line: 1, column: 0 };
    return templateFault(place, `executing "" at <${command?.text ?? ""}>: ${problem}`);
  }

  #print(text: string): void {
    this.output += text;
    if (this.output.length > outputMaxLength) throw argumentFault("template's output is too long");
  }
}
