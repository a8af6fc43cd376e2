import { describe, expect, test } from "bun:test";
import { digestOf } from "../../oci/digest.ts";
import { ArchiveHash } from "./_archive-hash.ts";
import { slotBytes } from "../slot-ring.ts";
import { slotCount } from "./_hash-ring.ts";
import { TarOutput } from "./_tar-output.ts";

const ringBytes = slotBytes * slotCount;

/** Bytes that no two slots have in common. */
function contentOf(sizeBytes: number): Buffer {
  const content = Buffer.alloc(sizeBytes);
  for (let at = 0; at < sizeBytes; at += 4096) content.writeUInt32LE(at + sizeBytes, at & ~7);
  return content;
}

function hashOf(content: Buffer, pieceBytes: number): string {
  using hash = new ArchiveHash();
  const output = new TarOutput(hash);
  for (let at = 0; at < content.length; at += pieceBytes) {
    output.write(content.subarray(at, at + pieceBytes));
  }
  output.flush();
  return hash.digest();
}

describe("hash of an archive", () => {
  test.each([
    0,
    1,
    slotBytes - 1,
    slotBytes,
    slotBytes + 1,
    ringBytes - 1,
    ringBytes,
    ringBytes + 1,
    3 * ringBytes,
    3 * ringBytes + 4097,
  ])("is right for %d bytes, in pieces of any size", (sizeBytes) => {
    const content = contentOf(sizeBytes + 8).subarray(0, sizeBytes);
    expect(hashOf(content, 1_000_003)).toBe(digestOf(content));
    expect(hashOf(content, 64_999)).toBe(digestOf(content));
  });

  test.each([1, ringBytes + 1])("forgets %d bytes that nobody asked for", (sizeBytes) => {
    {
      using dropped = new ArchiveHash();
      const output = new TarOutput(dropped);
      output.write(contentOf(sizeBytes + 8));
      output.flush();
    }
    const content = contentOf(2 * ringBytes);
    expect(hashOf(content, slotBytes)).toBe(digestOf(content));
  });

  test("two at a time do not mix", () => {
    const [left, right] = [contentOf(2 * ringBytes), contentOf(ringBytes + 512)];
    using first = new ArchiveHash();
    using second = new ArchiveHash();
    const outputs = [new TarOutput(first), new TarOutput(second)] as const;
    for (let at = 0; at < left.length; at += slotBytes) {
      outputs[0].write(left.subarray(at, at + slotBytes));
      outputs[1].write(right.subarray(at, at + slotBytes));
    }
    for (const output of outputs) output.flush();
    expect([first.digest(), second.digest()]).toEqual([digestOf(left), digestOf(right)]);
  });
});
