/**
 * The syntax tree of a Go text/template, as far as templates of command lines go: actions, if,
 * else if, range, with, variables, pipelines, break, continue, comments and trimming. `define`,
 * `block` and `template` are refused by name.
 *
 * @see Go, package text/template
 */
import { EngineError } from "../../lib/errors.ts";

/** Place of a node: line, and column in it, counted from 0 as Go's messages do. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** A value in a command. */
export type Operand =
  | { readonly kind: "literal"; readonly value: unknown; readonly text: string }
  | { readonly kind: "dot" }
  | { readonly kind: "nil" }
  | { readonly kind: "field"; readonly names: readonly string[]; readonly place: Place }
  | {
      readonly kind: "variable";
      readonly name: string;
      readonly names: readonly string[];
      readonly place: Place;
    }
  | { readonly kind: "function"; readonly name: string; readonly place: Place }
  | {
      readonly kind: "group";
      readonly pipeline: Pipeline;
      readonly names: readonly string[];
      readonly place: Place;
    };

/** Operands side by side: a value, or a call of the first with the rest. */
export interface Command {
  readonly operands: readonly Operand[];
  readonly place: Place;
  readonly text: string;
}

/** Commands joined by `|`, the result kept in variables or not. */
export interface Pipeline {
  readonly variables: readonly string[];
  readonly isAssignment: boolean;
  readonly commands: readonly Command[];
}

/** One part of a template. */
export type Node =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "action"; readonly pipeline: Pipeline }
  | {
      readonly kind: "if" | "range" | "with";
      readonly pipeline: Pipeline;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    }
  | { readonly kind: "break" | "continue" };

/** The failure of a template: `template: :1: unclosed action`. */
export function templateFault(place: Place | number, problem: string): EngineError {
  const where = typeof place === "number" ? `${place}` : `${place.line}:${place.column}`;
  return new EngineError("invalid-argument", `template: :${where}: ${problem}`, {
    details: { isTemplate: true },
  });
}
