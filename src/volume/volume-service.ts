/**
 * Storage that outlives containers.
 *
 * Terms: a *volume* has a name and a directory; an *anonymous* one was named by the engine for one
 * container. A container *holds* the volumes that its record names, and has them *mounted* from its
 * start to its end. A volume that nobody holds is *dangling*.
 *
 * 1. `create` (or a container's creation) makes the record, then the directory.
 * 2. `hold` for each container, when it is created and again at each start of the daemon: who holds
 *    a volume is known by the containers' records alone and never stored here.
 * 3. `populate` copies the image's content into a volume that is still empty.
 * 4. `mount` before the container starts, `unmount` after it has ended.
 * 5. `release` when the container is removed; `remove` or `prune` when nobody holds it.
 *
 * ```
 * <root>/<name>/_data         what containers see; a mount point when the volume has driver options
 * <root>/<name>/opts.json     driver options, for a volume whose record is lost
 * <root>/<name>/_populating   an unfinished copy
 * ```
 *
 * No bytes are lost to a lost record: a directory that no record knows is a volume again at the
 * next start. A removal says so in the record before it takes the first file, and is finished at
 * the next start. Nothing mounted below a volume is ever removed with it.
 *
 * Not done here: resolving paths inside a container's root, other drivers than `local`.
 */
import type { Volume, VolumeCreateRequest, VolumePruneResponse } from "../api/volume.ts";
import type { Filters } from "../lib/filters.ts";

/** Label of volumes that the engine named. */
export const anonymousVolumeLabel = "com.docker.volume.anonymous";

/** How a container sees a volume; for the event. */
export interface VolumeMountOptions {
  readonly containerId: string;
  readonly target: string;
  readonly isReadOnly: boolean;
  readonly propagation?: string;
}

/** The volumes of one engine. */
export interface VolumeService {
  /**
   * Makes a volume; one of that name that is there already is returned as it is.
   *
   * @throws invalid-argument for a name or a driver option, not-found for a driver, not-implemented
   * for a type of mount
   */
  create(request?: VolumeCreateRequest): Promise<Volume>;
  /** By name; filters: `dangling`, `driver`, `label`, `name` (a part of it, or a pattern). */
  list(filters?: Filters): Promise<readonly Volume[]>;
  /** @throws not-found */
  inspect(name: string): Promise<Volume>;
  find(name: string): Volume | undefined;
  /** All volumes with their sizes and how many containers hold them; reads every directory. */
  usage(): Promise<readonly Volume[]>;
  /**
   * Removes a volume and what it holds.
   *
   * @param options.force a missing volume is no failure
   * @throws not-found; conflict while a container holds it
   */
  remove(name: string, options?: { readonly force?: boolean }): Promise<void>;
  /** Removes dangling anonymous volumes; filters: `label`, `label!`, `all` (named ones too). */
  prune(filters?: Filters): Promise<VolumePruneResponse>;
  /** Notes that a container's record names the volume. @throws not-found */
  hold(name: string, containerId: string): void;
  /** Takes `hold` back; a volume or container that is unknown is no failure. */
  release(name: string, containerId: string): void;
  /** The containers that hold a volume, in the order they came. */
  users(name: string): readonly string[];
  /**
   * Makes the volume's directory ready, mounting what its driver options say; also for a container
   * that runs already when the daemon starts.
   *
   * @returns the directory to bind
   * @throws not-found; invalid-argument when the kernel refuses the mount
   */
  mount(name: string, options: VolumeMountOptions): { readonly path: string };
  /** Takes `mount` back; the last one unmounts. */
  unmount(name: string, containerId: string): void;
  /**
   * Copies the content of a folder, its owner and mode included, into an empty volume.
   *
   * All of it or none, durable when it returns, unless a running container or driver options
   * have the volume mounted: then the copy is made in place.
   *
   * @param sourceDir absolute, already resolved inside the image; not followed when it is a link
   * @returns false when there was nothing to do: the volume has content or there is no such folder
   * @throws not-found
   */
  populate(name: string, sourceDir: string): Promise<boolean>;
}
