/** Text of a stream, line by line. */

/** Splits text into lines; the last one may lack its newline. */
export async function* linesOf(source: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let held = "";
  for await (const chunk of source) {
    held += decoder.decode(chunk, { stream: true });
    const lines = held.split("\n");
    held = lines.pop() ?? "";
    yield* lines;
  }
  held += decoder.decode();
  if (held !== "") yield held;
}
