/** The parser: from a Dockerfile's bytes to its stages. */
import { EngineError } from "../../lib/errors.ts";
import { readInstruction } from "./_instruction-readers.ts";
import { LineReader, readLines } from "./_lines.ts";
import { type Node, readNode } from "./_node.ts";
import { placed, refuse } from "./refusal.ts";
import { parseDirectives } from "./directives.ts";
import type { Directives, Dockerfile, Instruction, Location, Stage } from "./instruction.ts";
import { instructionsMax, stagesMax } from "./limits.ts";

type From = Extract<Instruction, { kind: "from" }>;
type StageInstruction = Stage["instructions"][number];

/**
 * Reads a Dockerfile.
 *
 * First every instruction is cut into words, then each is understood: of two mistakes, the one in a
 * word is told. `details.location` of a failure is the place.
 *
 * @throws invalid-argument in BuildKit's words: `dockerfile parse error on line 3: …`
 * @see BuildKit, frontend/dockerfile/parser and frontend/dockerfile/instructions
 */
export function parseDockerfile(bytes: Uint8Array): Dockerfile {
  if (bytes.byteLength === 0) throw refuse("the Dockerfile cannot be empty");
  const lines = readLines(bytes);
  const { directives, lineCount } = parseDirectives(lines);
  const nodes = readNodes(lines, { escape: directives.escape, from: lineCount });
  const { metaArgs, stages } = readStages(nodes);
  if (stages.length === 0) throw refuse("dockerfile contains no stages to build");
  return {
    directives,
    metaArgs,
    stages,
    lines: lines.map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line)),
    emptyContinuations: nodes.filter((node) => node.hasEmptyLine).map((node) => node.location),
  };
}

/**
 * Reads one instruction: a trigger of ONBUILD, an argument of `--change`. Its lines count from 1.
 *
 * @throws invalid-argument in BuildKit's words, and when there is not exactly one instruction
 */
export function parseInstruction(
  text: string,
  options: { readonly escape?: Directives["escape"] } = {},
): Instruction {
  const lines = readLines(new TextEncoder().encode(text));
  const nodes = readNodes(lines, { escape: options.escape ?? "\\", from: 0 });
  const [node] = nodes;
  if (node === undefined || nodes.length > 1) {
    throw refuse(`${nodes.length} instructions where one was wanted`);
  }
  try {
    return readInstruction(node);
  } catch (error) {
    throw placed(error, node.location);
  }
}

function readNodes(
  lines: readonly string[],
  options: { readonly escape: string; readonly from: number },
): readonly Node[] {
  const reader = new LineReader(lines, options);
  const nodes: Node[] = [];
  for (let line = reader.next(); line !== undefined; line = reader.next()) {
    if (nodes.length >= instructionsMax) {
      throw refuse(`more than ${instructionsMax} instructions`, line.location);
    }
    nodes.push(readNode(line, { reader, escape: options.escape }));
  }
  if (nodes.length > 0) return nodes;
  const last = Math.max(1, lines.at(-1) === "" ? lines.length - 1 : lines.length);
  throw refuse("file with no instructions", { startLine: last, endLine: last });
}

interface OpenStage {
  readonly from: From;
  readonly instructions: StageInstruction[];
}

function readStages(nodes: readonly Node[]): Pick<Dockerfile, "metaArgs" | "stages"> {
  const metaArgs: Extract<Instruction, { kind: "arg" }>[] = [];
  const stages: OpenStage[] = [];
  for (const node of nodes) {
    const instruction = readPlaced(node);
    const stage = stages.at(-1);
    if (instruction.kind === "from") {
      if (stages.length >= stagesMax) {
        throw refuse(`more than ${stagesMax} stages`, instruction.location);
      }
      stages.push({ from: instruction, instructions: [] });
    } else if (stage !== undefined) {
      stage.instructions.push(instruction);
    } else if (instruction.kind === "arg") {
      metaArgs.push(instruction);
    } else {
      throw refuse("no build stage in current context", instruction.location);
    }
  }
  return {
    metaArgs,
    stages: stages.map(({ from, instructions }, index) => ({
      index,
      ...(from.stage === undefined ? {} : { name: from.stage }),
      from,
      instructions,
    })),
  };
}

function readPlaced(node: Node): Instruction {
  try {
    return readInstruction(node);
  } catch (error) {
    throw told(error, node.location);
  }
}

function told(error: unknown, location: Location): unknown {
  if (!(error instanceof EngineError)) return error;
  return new EngineError(
    error.kind,
    `dockerfile parse error on line ${location.startLine}: ${error.message}`,
    { cause: error.cause, details: { ...error.details, location } },
  );
}
