/** An image service for tests: a data root of its own, a registry in memory. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { EventMessage } from "../api/system.ts";
import type { ContentStore } from "../content/content-store.ts";
import { openContentStore } from "../content/local-content-store.ts";
import { createEventBus } from "../event/journal-event-bus.ts";
import { silentLogger } from "../lib/log.ts";
import { encodeTar } from "../lib/tar/tar-writer.ts";
import { createLeases } from "../metadata/leases.ts";
import { openMetadata } from "../metadata/sqlite-metadata.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { openSnapshotter } from "../snapshot/choose-snapshotter.ts";
import { openUnpacker, type Unpacker } from "../snapshot/unpack/unpack-client.ts";
import type { ImagePolicy } from "./image-policy.ts";
import type { ProgressMessage } from "./image-service.ts";
import { openImageService, type OpenedImageService } from "./local-image-service.ts";
import { makeMemoryRegistry, type MemoryRegistry } from "./distribution/memory-registry.ts";

/**
 * An unpacker whose helpers rest for two seconds. The test runner at times lets an immediate wait for up to a second,
 * until something else happens in the process; why is not known. A load that is cut then takes two seconds, and five
 * or more where helpers rest for longer or shorter.
 */
export function openTestUnpacker(): Unpacker {
  return openUnpacker({ idleMs: 2000 });
}

/** A layer as it is published, and what it unpacks to. */
export interface TestLayer {
  readonly packed: Uint8Array;
  readonly tar: Uint8Array;
  readonly diffId: Digest;
}

/** A layer of one file; `sizeBytes` of noise make it long. */
export function makeLayer(name: string, sizeBytes = 0): TestLayer {
  const noise = new Uint8Array(sizeBytes);
  for (let at = 0, seed = 7; at < sizeBytes; at += 1) {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    noise[at] = seed >> 16;
  }
  const tar = encodeTar([{ header: { name }, content: Buffer.concat([Buffer.from(name), noise]) }]);
  return { packed: gzipSync(tar), tar, diffId: digestOf(tar) };
}

/** What a test has. */
export interface TestImages {
  readonly root: string;
  readonly registry: MemoryRegistry;
  readonly messages: ProgressMessage[];
  readonly progress: (message: ProgressMessage) => void;
  readonly policy: { check: ImagePolicy["check"] };
  images: OpenedImageService;
  content: ContentStore;
  /** The messages as lines: `id: status`. */
  lines(): readonly string[];
  /** What has happened, as `action id`. */
  events(): Promise<readonly string[]>;
  /** Opens the same data root again, as a new daemon does. */
  reopen(): Promise<void>;
  /** Blobs that are in the content store. */
  blobs(): Promise<readonly Digest[]>;
  hasSnapshot(key: string): boolean;
  snapshotCount(): number;
  /** Resolves when the directories of snapshots that are gone are gone, too. */
  removalsDone(): Promise<void>;
  close(): void;
}

/** Opens everything. */
export async function openTestImages(): Promise<TestImages> {
  const root = mkdtempSync("/tmp/tug-pull-");
  const registry = makeMemoryRegistry();
  const messages: ProgressMessage[] = [];
  const policy = { check: async () => await Promise.resolve() };
  let opened = await open(root, { registry, policy });
  const test: TestImages = {
    root,
    registry,
    messages,
    progress: (message) => void messages.push(message),
    policy,
    images: opened.images,
    content: opened.content,
    lines: () =>
      messages.map(({ id, status }) => (id === undefined ? `${status}` : `${id}: ${status}`)),
    async events() {
      const found: EventMessage[] = [];
      const now = BigInt(Date.now()) * 1_000_000n;
      for await (const event of opened.events.subscribe({ sinceNs: 1n, untilNs: now })) {
        found.push(event);
      }
      return found.map(({ Action, Actor }) => `${Action} ${Actor.ID} ${Actor.Attributes["name"]}`);
    },
    async reopen() {
      opened.close();
      opened = await open(root, { registry, policy });
      test.images = opened.images;
      test.content = opened.content;
      await test.images.recover();
    },
    blobs: async () => (await test.content.list()).map((blob) => blob.digest),
    hasSnapshot: (key) => opened.snapshots.find(key) !== undefined,
    snapshotCount: () => opened.snapshots.list().length,
    removalsDone: async () => await opened.snapshots.idle(),
    close() {
      opened.close();
      rmSync(root, { recursive: true, force: true });
    },
  };
  return test;
}

async function open(
  root: string,
  parts: { readonly registry: MemoryRegistry; readonly policy: ImagePolicy },
) {
  const logger = silentLogger;
  const metadata = openMetadata({ path: join(root, "metadata.db"), logger });
  const content = await openContentStore({ root: join(root, "content"), logger });
  const snapshots = openSnapshotter({ dataRoot: root, metadata, logger });
  const events = createEventBus();
  const leases = createLeases();
  const images = openImageService({
    content,
    snapshots,
    unpacker: openTestUnpacker(),
    metadata,
    leases,
    events,
    logger,
    ...parts,
  });
  return { images, content, snapshots, events, close: () => metadata[Symbol.dispose]() };
}
