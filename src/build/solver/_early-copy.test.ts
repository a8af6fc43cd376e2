import { describe, expect, test } from "bun:test";
import { EngineError } from "../../lib/errors.ts";
import { silentLogger } from "../../lib/log.ts";
import { parseDigest } from "../../oci/digest.ts";
import { hostPlatform } from "../../oci/platform.ts";
import type { SnapshotMount } from "../../snapshot/snapshotter.ts";
import type { Checksum, CopyRequest } from "../copy/copy.ts";
import { makeStep } from "../graph/make-step.ts";
import type { CopyActionSource, Step, StepResult } from "../step.ts";
import { copyEarly } from "./_early-copy.ts";

const common = { description: "", isCacheIgnored: false, platform: hostPlatform() };
const context = makeStep({
  ...common,
  name: "context",
  reads: [],
  action: {
    kind: "context",
    context: {
      id: "main",
      open: () => {
        throw new EngineError("internal", "opened already");
      },
    },
  },
});
const files = {
  kind: "files",
  from: context,
  paths: ["src"],
  excludes: [],
  hasParents: false,
  isLiteral: false,
  unpack: "never",
  resetsOwners: true,
} as const;
const checksum: Checksum = {
  digest: parseDigest(`sha256:${"5".repeat(64)}`),
  matches: [],
  entryCount: 1,
  sizeBytes: 1,
  hashedBytes: 1,
  files: "a line",
};

function copying(...sources: readonly CopyActionSource[]): Step {
  const action = { kind: "copy", copy: { sources, destination: "/" } } as const;
  return makeStep({ ...common, name: "COPY", reads: [context], action });
}

/** Snapshots and a copier that note what is asked of them. */
class Fakes {
  readonly snapshotKeys = new Set<string>();
  readonly asked: CopyRequest[] = [];
  failure: EngineError | undefined;

  async run(step: Step, hasChanged: StepResult["hasChanged"]): ReturnType<typeof copyEarly> {
    const result = { layers: [], isCached: false, contextPath: "/c", hashCachePath: "/h" };
    const opened = { ...result, ...(hasChanged === undefined ? {} : { hasChanged }) };
    return await copyEarly(this.#options, {
      step,
      below: { layers: [], isCached: true },
      results: new Map([[context, opened]]),
      signal: new AbortController().signal,
    });
  }

  get #options(): Parameters<typeof copyEarly>[0] {
    const mount: SnapshotMount = { type: "bind", source: "/target", isReadOnly: false };
    const options = {
      logger: silentLogger,
      snapshots: {
        prepare: async (key: string) => void this.snapshotKeys.add(key),
        remove: async (key: string) => void this.snapshotKeys.delete(key),
        mounts: () => mount,
      },
      copier: {
        copy: async (request: CopyRequest) => {
          this.asked.push(request);
          if (this.failure !== undefined) throw this.failure;
          return { fileCount: 1, sizeBytes: 1, checksums: [checksum] };
        },
      },
    };
    return options as unknown as Parameters<typeof copyEarly>[0];
  }
}

describe("copyEarly()", () => {
  test("copies what has changed, and sums it", async () => {
    const fakes = new Fakes();
    const asked: string[] = [];
    const early = await fakes.run(copying({ ...files, paths: ["/./src/"] }), (path) => {
      asked.push(path);
      return true;
    });
    expect(asked).toEqual(["src"]);
    expect(early?.contents).toEqual([checksum.digest]);
    expect(early?.files).toBe("a line");
    const [step] = fakes.asked[0]?.steps ?? [];
    const [source] = step?.kind === "copy" ? step.sources : [];
    expect(source).toMatchObject({ sum: { ignoresOwners: true, hashCachePath: "/h" } });
    const key = early?.take();
    expect([...fakes.snapshotKeys]).toEqual([key ?? ""]);
    expect(early?.take()).toBeUndefined();
    await early?.[Symbol.asyncDispose]();
    expect(fakes.snapshotKeys.size).toBe(1);
  });

  test("leaves nothing of what nobody takes", async () => {
    const fakes = new Fakes();
    const early = await fakes.run(copying(files), () => true);
    await early?.[Symbol.asyncDispose]();
    expect(fakes.snapshotKeys.size).toBe(0);
    expect(early?.take()).toBeUndefined();
  });

  test("leaves nothing of a failure, and does not tell it", async () => {
    const fakes = new Fakes();
    fakes.failure = new EngineError("unavailable", "no space left on device");
    expect(await fakes.run(copying(files), () => true)).toBeUndefined();
    expect(fakes.asked.length).toBe(1);
    expect(fakes.snapshotKeys.size).toBe(0);
  });

  const content = { kind: "content", name: "n", bytes: new Uint8Array() } as const;
  test.each([
    ["files that are as they were", copying(files), () => false],
    ["a stage, or a context that is new each time", copying(files), undefined],
    ["several sources", copying(files, files), () => true],
    ["a here-document", copying(content), () => true],
    ["what may be an archive", copying({ ...files, unpack: "archives" }), () => true],
    ["what no COPY is", context, () => true],
  ])("does not try %s", async (_name, step, hasChanged) => {
    const fakes = new Fakes();
    expect(await fakes.run(step, hasChanged)).toBeUndefined();
    expect(fakes.asked).toEqual([]);
    expect(fakes.snapshotKeys.size).toBe(0);
  });
});
