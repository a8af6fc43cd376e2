/**
 * Who may come in and run: asked before an image is recorded, and before one is made use of.
 *
 * What is asked is what the registry calls the image (its digests), never what it claims of itself.
 * Without a policy everything is allowed.
 */
import type { Digest } from "../oci/digest.ts";
import type { Reference } from "../oci/reference.ts";
import type { Credentials } from "../remote/registry-client.ts";

/** One use of an image. */
export interface ImageUse {
  readonly action: "pull" | "run" | "build";
  /** As it was asked for, with the tag that is meant; absent when it was asked for by its ID. */
  readonly reference?: Reference;
  /** The registry itself has the image under the tag of `reference`; not for `pull`. */
  readonly isTagPublished?: boolean;
  /** Whole names that it has here (`docker.io/library/busybox:latest`, `…@sha256:…`). */
  readonly names: readonly string[];
  /** What a signature may be for: the index that was resolved, if any, and the manifest. */
  readonly digests: readonly Digest[];
  /** Digest of the config. */
  readonly imageId: Digest;
  /** For asking the registry for signatures; only with `pull`. */
  readonly credentials?: Credentials;
  readonly signal?: AbortSignal;
}

/** What may refuse an image. */
export interface ImagePolicy {
  /** @throws permission-denied with the rule that refused */
  check(use: ImageUse): Promise<void>;
}
