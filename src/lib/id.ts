import { randomBytes } from "node:crypto";

/** Bytes of randomness in an object ID; 64 hexadecimal digits, as Docker's. */
const idSizeBytes = 32;

/** Length of the short form of an ID, as Docker prints it. */
export const shortIdLength = 12;

/** Makes a random object ID: 64 lower-case hexadecimal digits, never all decimal in its short form. */
export function createId(): string {
  for (;;) {
    const id = randomBytes(idSizeBytes).toString("hex");
    // A short ID of digits alone could be read as a number where it serves as a host name.
    if (!/^\d+$/.test(id.slice(0, shortIdLength))) return id;
  }
}

/** The first twelve digits of an ID, without the algorithm of a digest. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, "").slice(0, shortIdLength);
}
