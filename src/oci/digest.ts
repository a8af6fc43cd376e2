import type { Hash } from "node:crypto";
import { EngineError } from "../lib/errors.ts";

declare const digestBrand: unique symbol;

/**
 * The name of bytes: "sha256:" or "sha512:" and lower-case hexadecimal digits.
 *
 * @see OCI image-spec v1.1, descriptor.md, "Digests"
 */
export type Digest = string & { readonly [digestBrand]: true };

/** Algorithms that are registered and taken, with the number of their hexadecimal digits. */
const algorithms: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 };
const form = /^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/;

/** Hashes bytes as they pass. */
export interface Digester {
  update(bytes: Uint8Array): void;
  /** The digest of all bytes so far; the last call. */
  digest(): Digest;
}

/**
 * Checks a digest.
 *
 * @throws invalid-argument with Docker's sentence
 */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  if (text.length > 256 || !form.test(text)) throw refused("invalid checksum digest format");
  const [algorithm = "", encoded = ""] = text.split(":");
  const length = Object.hasOwn(algorithms, algorithm) ? algorithms[algorithm] : undefined;
  if (length === undefined) throw refused("unsupported digest algorithm");
  if (encoded.length !== length) throw refused("invalid checksum digest length");
  throw refused("invalid checksum digest format");
}

/** Tells whether `text` is a digest of a known algorithm. */
export function isDigest(text: string): text is Digest {
  return /^(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$/.test(text);
}

/** The part of a digest before the colon. */
export function digestAlgorithm(digest: Digest): string {
  return digest.slice(0, digest.indexOf(":"));
}

/** The hexadecimal digits of a digest. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(":") + 1);
}

/** The sha256 digest of bytes, or of text as UTF-8. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return parseDigest(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
}

/** Starts hashing; with the algorithm of `like` when one is given, else sha256. */
export function createDigester(like?: Digest): Digester {
  const algorithm = like === undefined ? "sha256" : digestAlgorithm(like);
  const hash = createHash(algorithm);
  return {
    update: (bytes) => void hash.update(bytes),
    digest: () => parseDigest(`${algorithm}:${hash.digest("hex")}`),
  };
}

/**
 * The name of a stack of layers, bottom first.
 *
 * @throws invalid-argument for an empty stack
 * @see OCI image-spec v1.1, config.md, "Layer ChainID"
 */
export function chainId(diffIds: readonly Digest[]): Digest {
  const last = chainIds(diffIds).at(-1);
  if (last === undefined) throw refused("chain ID: no layers");
  return last;
}

/** The chain ID of each layer with all those below it. */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(`${below} ${diffId}`));
  }
  return chain;
}

function refused(sentence: string): EngineError {
  return new EngineError("invalid-argument", sentence);
}

let hashing: typeof import("node:crypto") | undefined;

/** Most of those who read names of bytes hash none: the module is loaded for who does. */
function createHash(algorithm: string): Hash {
  hashing ??= process.getBuiltinModule("node:crypto");
  return hashing.createHash(algorithm);
}
