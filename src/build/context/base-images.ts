/** Images that builds begin with, from the store, from registries, from a client's layouts. */
import { EngineError, isKind } from "../../lib/errors.ts";
import { formatPlatform, type Platform } from "../../oci/platform.ts";
import { findReference, formatReference, withDefaultTag } from "../../oci/reference.ts";
import type { ImageLayers } from "../../image/image-service.ts";
import type { BuildRequest, ContextSource } from "../build-service.ts";
import type { BuildServiceOptions, BuildWork } from "../environment.ts";
import type { Progress, VertexProgress } from "../progress/progress.ts";
import { openLayoutImage } from "../source/layout-image.ts";

/** An image, as steps name it. */
export interface FoundImage {
  readonly image: ImageLayers;
  readonly shownName: string;
}

/** The images of one build; each is looked for once. */
export class BaseImages {
  readonly #options: BuildServiceOptions;
  readonly #request: BuildRequest;
  readonly #progress: Progress;
  readonly #signal: AbortSignal;
  readonly #leaseId: string;
  readonly #images = new Map<string, Promise<FoundImage>>();

  constructor(options: BuildServiceOptions, build: BuildWork) {
    this.#options = options;
    this.#request = build.request;
    this.#progress = build.progress;
    this.#signal = build.signal;
    this.#leaseId = build.leaseId;
  }

  /**
   * A base image, from here or from its registry.
   *
   * @throws what hinders it, of whatever kind, with `isOfStep` among its details: the Dockerfile was
   * read and the build has begun
   */
  async image(reference: string, platform: Platform): Promise<FoundImage> {
    const key = `${reference} ${formatPlatform(platform)}`;
    const known = this.#images.get(key);
    if (known !== undefined) return await known;
    const found = this.#image(reference, platform);
    this.#images.set(key, found);
    return await found;
  }

  async #image(reference: string, platform: Platform): Promise<FoundImage> {
    const parsed = findReference(reference);
    const shownName = parsed === undefined ? reference : formatReference(withDefaultTag(parsed));
    return await this.#progress.during(
      `[internal] load metadata for ${shownName}`,
      async (vertex) => {
        try {
          const image = await this.#findOrPull(reference, { platform, vertex });
          for (const { chainId, digest } of image.layers) {
            this.#options.leases.add(this.#leaseId, `snapshot:${chainId}`);
            this.#options.leases.add(this.#leaseId, `content:${digest}`);
          }
          return { image, shownName };
        } catch (error) {
          if (this.#signal.aborted || !(error instanceof EngineError)) throw error;
          throw new EngineError(
            error.kind,
            parsed === undefined
              ? `failed to parse stage name ${JSON.stringify(reference)}: ${error.message}`
              : `${reference}: failed to resolve source metadata for ${shownName}: ${error.message}`,
            { cause: error, details: { ...error.details, isOfStep: true } },
          );
        }
      },
    );
  }

  async #findOrPull(
    reference: string,
    how: { readonly platform: Platform; readonly vertex: VertexProgress },
  ): Promise<ImageLayers> {
    const { images } = this.#options;
    const { platform } = how;
    if (!this.#request.isPulled) {
      // A short name of hexadecimal digits is a name, and no beginning of an ID.
      const name = /^[0-9a-f]{1,11}$/.test(reference) ? `${reference}:latest` : reference;
      try {
        return await images.layersOf(name, { platform, use: "build" });
      } catch (error) {
        if (!isKind(error, "not-found")) throw error;
      }
    }
    const host = findReference(reference)?.domain ?? "";
    const credentials = await this.#request.client.credentials(host);
    await images.pull(reference, {
      platform,
      ...(credentials === undefined ? {} : { credentials }),
      signal: this.#signal,
      progress: ({ id, status, progressDetail }) => {
        // Not the line whose ID is the tag, which is anybody's to choose: states have names of ours.
        if (id === undefined || status?.startsWith("Pulling from ") === true) return;
        how.vertex.status({
          id,
          current: progressDetail?.current ?? 0,
          total: progressDetail?.total ?? 0,
          isCompleted: status === "Pull complete" || status === "Already exists",
        });
      },
    });
    return await images.layersOf(reference, { platform, use: "build" });
  }

  /** An image of a layout that lies at the client's. */
  async layoutImage(
    name: string,
    how: {
      readonly source: Extract<ContextSource, { kind: "oci-layout" }>;
      readonly platform: Platform;
    },
  ): Promise<FoundImage> {
    const { source, platform } = how;
    const { reference } = source;
    return await this.#progress.during(`[context ${name}] OCI load from client`, async () => {
      const folder = this.#request.client.contentStore?.(`oci:${source.name}`);
      if (folder === undefined) {
        throw new EngineError("not-found", `the client has no OCI layout for the context ${name}`);
      }
      const image = await openLayoutImage(this.#options, {
        folder,
        reference,
        platform,
        leaseId: this.#leaseId,
        signal: this.#signal,
      });
      return { image, shownName: `oci-layout://${reference}` };
    });
  }
}
