/**
 * Layers of an archive that are unpacked while it is read, before it is known whose they are: what says
 * so comes last in most archives.
 *
 * Such a layer is unpacked on nothing. It becomes a layer of an image if its bytes are what the image
 * names and nothing of it depends on the layers below; else it goes, and is unpacked as always.
 */
import { rmSync } from "node:fs";
import type { Ingest } from "../../content/content-store.ts";
import { createId } from "../../lib/id.ts";
import { messageOf } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import type { Digest } from "../../oci/digest.ts";
import { commitLayer } from "../../snapshot/commit-layer.ts";
import type { AppliedLayer } from "../../snapshot/unpack/apply.ts";
import { unpackActive } from "../../snapshot/unpack/unpack-snapshot.ts";
import { type ImageStore, type PlannedLayer, unpackSnapshotPrefix } from "../store-image.ts";

/** Smaller files are unpacked faster than it takes to begin, and may be no layers at all. */
const earlyMinBytes = 16 * 1024 * 1024;

/** A layer whose place is not known yet. */
interface EarlyLayer {
  /** Of its snapshot. */
  readonly key: string;
  /** Undefined when it came to nothing. */
  readonly unpacked: Promise<AppliedLayer | undefined>;
  readonly stop: AbortController;
}

/** The layers of one archive that were begun early. Closing drops those that no image took. */
export class EarlyLayers implements AsyncDisposable {
  readonly #store: ImageStore & { readonly logger: Logger };
  readonly #layers = new Map<Digest, EarlyLayer>();
  /** Those that did not come whole, or twice. */
  readonly #strays: EarlyLayer[] = [];

  constructor(store: ImageStore & { readonly logger: Logger }) {
    this.#store = store;
  }

  /**
   * Begins with a file that is being read, if it may be a layer and a helper is free.
   *
   * @param options.sizeBytes of the whole file
   * @returns to be called with its digest, or without when it did not come whole
   */
  begin(ingest: Ingest, options: { readonly sizeBytes: number }): (digest?: Digest) => void {
    const { snapshots, unpacker } = this.#store;
    if (options.sizeBytes < earlyMinBytes || !unpacker.canFollow || !snapshots.stacksLate) {
      return () => undefined;
    }
    const stop = new AbortController();
    const key = `${unpackSnapshotPrefix}${createId()}`;
    const source = { path: ingest.follow(), sizeBytes: options.sizeBytes };
    const unpacked = this.#unpack(key, { source, signal: stop.signal });
    const layer: EarlyLayer = { key, unpacked, stop };
    return (digest) => {
      if (digest !== undefined && !this.#layers.has(digest)) this.#layers.set(digest, layer);
      else this.#strays.push(layer);
    };
  }

  /**
   * Makes an early layer the layer of an image.
   *
   * @returns bytes of its files; undefined when there is none, or not for this place
   */
  async take(layer: PlannedLayer): Promise<number | undefined> {
    const early = this.#layers.get(layer.digest);
    if (early === undefined) return undefined;
    this.#layers.delete(layer.digest);
    const unpacked = await early.unpacked;
    const fits =
      unpacked?.diffId === layer.diffId && (layer.parent === undefined || unpacked.standsAlone);
    if (unpacked === undefined || !fits) {
      await this.#drop(early);
      return undefined;
    }
    const { chainId, parent } = layer;
    const { sizeBytes, hasRootEntry } = unpacked;
    const onto = parent === undefined ? {} : { onto: { parent, takesRoot: !hasRootEntry } };
    try {
      await commitLayer(this.#store.snapshots, early.key, { chainId, sizeBytes, ...onto });
    } catch (error) {
      await this.#drop(early);
      throw error;
    }
    return sizeBytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const layers = [...this.#layers.values(), ...this.#strays.splice(0)];
    this.#layers.clear();
    await Promise.all(layers.map(async (layer) => await this.#drop(layer)));
  }

  async #drop({ key, unpacked, stop }: EarlyLayer): Promise<void> {
    stop.abort();
    await unpacked;
    await this.#store.snapshots.remove(key);
  }

  /** Never rejects: whoever takes the layer unpacks it again, and learns what is wrong. */
  async #unpack(
    key: string,
    how: {
      readonly source: { readonly path: string; readonly sizeBytes: number };
      readonly signal: AbortSignal;
    },
  ): Promise<AppliedLayer | undefined> {
    const { source, signal } = how;
    const blob = { blobPath: source.path, ingest: source, below: undefined };
    try {
      return await unpackActive(this.#store, { ...blob, key }, { signal });
    } catch (error) {
      this.#store.logger.debug("a file of an archive was not unpacked early", {
        error: messageOf(error),
      });
      return undefined;
    } finally {
      rmSync(source.path, { force: true });
    }
  }
}
