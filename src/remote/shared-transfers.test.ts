/** Several pulls that want one blob, of which one asks a registry that is no good. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type FaultRegistry,
  type FaultReply,
  startFaultRegistry,
} from "../../test/support/fault-registry.ts";
import { until } from "../../test/support/process.ts";
import type { ContentStore } from "../content/content-store.ts";
import { openContentStore } from "../content/local-content-store.ts";
import { silentLogger } from "../lib/log.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { digestOf } from "../oci/digest.ts";
import { ociMediaTypes } from "../oci/media-types.ts";
import { parseReference } from "../oci/reference.ts";
import { openRegistryClient } from "./http-registry-client.ts";
import type { RegistryClient } from "./registry-client.ts";

const limits = { answerMs: 1_000, stallMs: 150, retryDelayMs: 400, retryDelayMaxMs: 400 };
const config = {
  ...{ mirrors: [], insecureRegistries: [], certsDirs: [] },
  ...{ downloadsMax: 3, uploadsMax: 5, attemptsMax: 4 },
};
const bytes = Buffer.alloc(100_000, "a layer that two registries have, ");
const layer: Descriptor = {
  mediaType: ociMediaTypes.layerGzip,
  digest: digestOf(bytes),
  size: bytes.byteLength,
};

let root: string;
let content: ContentStore;
let client: RegistryClient;
const registries: FaultRegistry[] = [];

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "tug-shared-"));
  content = await openContentStore({ root, logger: silentLogger });
  client = openRegistryClient({ config, logger: silentLogger, limits });
});

afterEach(async () => {
  await client[Symbol.asyncDispose]();
  for (const registry of registries.splice(0)) await registry[Symbol.asyncDispose]();
  rmSync(root, { recursive: true, force: true });
});

async function serve(blob: () => FaultReply | Promise<FaultReply>): Promise<FaultRegistry> {
  const registry = await startFaultRegistry(async ({ path }) =>
    path === "/v2/" ? undefined : await blob(),
  );
  registries.push(registry);
  return registry;
}

async function fetchFrom(registry: FaultRegistry): Promise<number> {
  const reference = parseReference(`${registry.host}/app`);
  return (await client.fetchBlob(reference, { descriptor: layer, content })).sizeBytes;
}

async function isAsked(registry: FaultRegistry): Promise<void> {
  await until(
    () => registry.requests.some(({ path }) => path.includes("/blobs/")),
    () => "a request for the blob",
  );
}

describe("a pull that joins one from another registry", () => {
  const bad: Readonly<Record<string, FaultReply>> = {
    stalls: { body: bytes, stallAfterBytes: 1_000 },
    "breaks off": { body: bytes, cutAfterBytes: 1_000 },
    "is out of order": { status: 500 },
    "says to wait": { status: 429, headers: { "retry-after": "60" } },
  };
  for (const [what, reply] of Object.entries(bad)) {
    test(`which ${what} gets the blob from its own, and the other has it too`, async () => {
      const [worse, good] = [await serve(() => reply), await serve(() => ({ body: bytes }))];
      const first = fetchFrom(worse);
      await isAsked(worse);
      const startMs = performance.now();
      expect(await Promise.all([first, fetchFrom(good)])).toEqual([layer.size, layer.size]);
      // Not after all attempts of the other.
      expect(performance.now() - startMs).toBeLessThan(350);
      expect(worse.requests.filter(({ path }) => path.includes("/blobs/"))).toHaveLength(1);
    });
  }

  test("which lies gets the blob from its own, and the other is told", async () => {
    const lies = await serve(async () => {
      await Bun.sleep(50);
      return { body: Buffer.alloc(bytes.byteLength, "x") };
    });
    const good = await serve(() => ({ body: bytes }));
    const first = fetchFrom(lies);
    const told = expect(first).rejects.toMatchObject({ kind: "data-loss" });
    await isAsked(lies);
    expect(await fetchFrom(good)).toBe(layer.size);
    await told;
  });

  test("both of which are out of order ends, each with what its own says", async () => {
    const registriesOut = [
      await serve(() => ({ status: 502 })),
      await serve(() => ({ status: 503 })),
    ];
    const outcomes = await Promise.allSettled(registriesOut.map(fetchFrom));
    expect(outcomes.map((outcome) => outcome.status === "rejected" && `${outcome.reason}`)).toEqual(
      [expect.stringContaining("502"), expect.stringContaining("503")],
    );
  }, 10_000);
});
