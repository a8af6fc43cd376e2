/** Encoders of JSON answers, as Go's json.Encoder writes them. */

/**
 * Writes a value as one line of JSON, ending in a newline.
 *
 * A bigint is written as an integer with all its digits: nanoseconds do not fit a number.
 */
export function encodeJson(value: unknown): string {
  return `${JSON.stringify(value, writeInteger)}\n`;
}

function writeInteger(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? rawJson(value.toString()) : value;
}

/** `JSON.rawJSON` is in the runtime, but not yet in the library types. */
const rawJson = (JSON as unknown as { readonly rawJSON: (text: string) => unknown }).rawJSON;
