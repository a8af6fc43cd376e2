/**
 * Results as definitions: a client hands the result of one build to another as an input of it, and
 * what it hands is a definition that the engine made. Ours has one operation that names the result.
 */
import { type Definition, opType } from "../../api/buildkit/llb.ts";
import { isKind } from "../../lib/errors.ts";
import { digestOf } from "../../oci/digest.ts";
import { decodeMessage, encodeMessage } from "../../lib/protobuf.ts";

const scheme = "tug-result://";
/** A definition that a client relays has few operations; more are not looked at. */
const operationCountMax = 1000;

/** The definition that stands for a result. */
export function definitionOfResult(id: string): Definition {
  const source = encodeMessage(opType, {
    source: { identifier: `${scheme}${id}`, attrs: new Map() },
  });
  const digest = digestOf(source);
  // The last operation names the output.
  const head = encodeMessage(opType, { inputs: [{ digest, index: 0 }] });
  const metadata = new Map([digest, digestOf(head)].map((each) => [each, {}]));
  return { def: [source, head], metadata };
}

/** The result that a definition stands for; undefined when it is another definition. */
export function resultOfDefinition(definition: Definition): string | undefined {
  for (const bytes of definition.def.slice(0, operationCountMax)) {
    const identifier = identifierOf(bytes);
    if (identifier?.startsWith(scheme) === true) return identifier.slice(scheme.length);
  }
  return undefined;
}

function identifierOf(bytes: Uint8Array): string | undefined {
  try {
    return decodeMessage(opType, bytes).source?.identifier;
  } catch (error) {
    if (isKind(error, "invalid-argument")) return undefined;
    throw error;
  }
}
