/** Thrown when the program itself is wrong; domain code never catches it. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** States a fact that only a bug can break; never used for input. */
export function assert(condition: unknown, fact: string): asserts condition {
  if (!condition) throw new AssertionError(`broken invariant: ${fact}`);
}

/** Closes an exhaustive switch: the compiler proves it unreachable. */
export function unreachable(value: never): never {
  throw new AssertionError(`broken invariant: unexpected value ${JSON.stringify(value)}`);
}
