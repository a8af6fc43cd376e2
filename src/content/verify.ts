import { EngineError } from "../lib/errors.ts";
import type { ByteSource } from "../lib/stream-limit.ts";
import { createDigester, type Digest } from "../oci/digest.ts";

/** What bytes must be. */
export interface ExpectedBytes {
  readonly digest: Digest;
  readonly sizeBytes?: number;
}

/**
 * Passes a stream on and checks it: whoever reads to the end without a throw has the right bytes.
 *
 * @throws data-loss when size or digest differ; for too many bytes before they are passed on
 */
export async function* verifyStream(
  source: ByteSource,
  expected: ExpectedBytes,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { digest, sizeBytes } = expected;
  const digester = createDigester(digest);
  let passedBytes = 0;
  for await (const chunk of source) {
    passedBytes += chunk.byteLength;
    if (sizeBytes !== undefined && passedBytes > sizeBytes) {
      throw damaged(digest, `more than the expected ${sizeBytes} bytes`);
    }
    digester.update(chunk);
    yield chunk;
  }
  if (sizeBytes !== undefined && passedBytes !== sizeBytes) {
    throw damaged(digest, `expected ${sizeBytes} bytes, got ${passedBytes}`);
  }
  const found = digester.digest();
  if (found !== digest) throw damaged(digest, `the bytes have ${found}`);
}

/** Checks bytes at hand. @throws data-loss when size or digest differ */
export function verifyBytes(bytes: Uint8Array, expected: ExpectedBytes): void {
  const { digest, sizeBytes } = expected;
  if (sizeBytes !== undefined && bytes.byteLength !== sizeBytes) {
    throw damaged(digest, `expected ${sizeBytes} bytes, got ${bytes.byteLength}`);
  }
  const digester = createDigester(digest);
  digester.update(bytes);
  const found = digester.digest();
  if (found !== digest) throw damaged(digest, `the bytes have ${found}`);
}

function damaged(digest: Digest, what: string): EngineError {
  return new EngineError("data-loss", `verify ${digest}: ${what}`);
}
