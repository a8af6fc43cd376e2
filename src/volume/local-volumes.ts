import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Volume, VolumeCreateRequest, VolumePruneResponse } from "../api/volume.ts";
import type { EventBus } from "../event/event-bus.ts";
import {
  invalidVolumeName,
  noSuchVolume,
  shortVolumeName,
  unknownVolumeDriver,
  volumeInUse,
} from "../lib/docker-messages.ts";
import { EngineError, isKind, messageOf } from "../lib/errors.ts";
import { type Filters, noFilters } from "../lib/filters.ts";
import { createId } from "../lib/id.ts";
import { KeyedMutex } from "../lib/concurrency/keyed-mutex.ts";
import type { Logger } from "../lib/log.ts";
import type { Metadata, Table } from "../metadata/metadata.ts";
import { copyTree } from "../sys/fs/fs.ts";
import { isMountPoint, unmount } from "../sys/mount/mount.ts";
import { mountDriver, parseDriverOptions } from "./_driver-mount.ts";
import {
  copyAtomically,
  dataPath,
  folderSizeBytes,
  isEmptyFolder,
  isFolder,
  makeVolumeFolder,
  readLostOptions,
  removeVolumeFolder,
} from "./_volume-files.ts";
import { createListFilter, createPruneFilter } from "./_volume-filter.ts";
import { isVolumeName, type VolumeRecord, volumeTable } from "./_volume-record.ts";
import {
  anonymousVolumeLabel,
  type VolumeMountOptions,
  type VolumeService,
} from "./volume-service.ts";

/** The one driver. */
const driverName = "local";
const rootMode = 0o701;

/** What `openVolumes` needs. */
export interface VolumesOptions {
  /** Directory of all volumes; made when missing. */
  readonly root: string;
  readonly metadata: Metadata;
  readonly events: EventBus;
  readonly logger: Logger;
  /** Another clock for tests. */
  readonly now?: () => Date;
}

/**
 * Opens the volumes of a data root.
 *
 * Adopts directories that no record knows, makes those again that a record misses, and goes on in
 * the background with removals that a crash has cut off.
 */
export function openVolumes(options: VolumesOptions): VolumeService {
  return new LocalVolumes(options);
}

class LocalVolumes implements VolumeService {
  readonly #options: VolumesOptions;
  readonly #table: Table<VolumeRecord>;
  readonly #mutex = new KeyedMutex();
  /** Containers by volume, in the order they came. */
  readonly #users = new Map<string, Set<string>>();
  readonly #mountedBy = new Map<string, Set<string>>();

  constructor(options: VolumesOptions) {
    this.#options = options;
    this.#table = options.metadata.table(volumeTable);
    mkdirSync(options.root, { recursive: true, mode: rootMode });
    this.#recover();
  }

  async create(request: VolumeCreateRequest = {}): Promise<Volume> {
    const given = request.Name ?? "";
    const name = given === "" ? createId() : given;
    checkName(name);
    const driver = request.Driver ?? "";
    if (driver !== "" && driver !== driverName) throw unknownVolumeDriver(name, driver);
    if (request.ClusterVolumeSpec !== undefined && request.ClusterVolumeSpec !== null) {
      throw new EngineError("not-implemented", "cluster volumes are not implemented");
    }
    return await this.#mutex.run(name, async () => {
      const present = this.find(name);
      if (present !== undefined) return present;
      const labels = request.Labels ?? null;
      const driverOptions = request.DriverOpts ?? {};
      checkOptions(name, driverOptions);
      // A removal that failed half-way is finished before its name is used again.
      if (this.#table.find(name) !== undefined) await removeVolumeFolder(this.#folder(name));
      return this.#make({
        name,
        createdAt: formatSeconds(this.#now()),
        labels: given === "" ? { ...labels, [anonymousVolumeLabel]: "" } : labels,
        options: request.DriverOpts ?? null,
      });
    });
  }

  find(name: string): Volume | undefined {
    const record = this.#findRecord(name);
    return record === undefined ? undefined : this.#encode(record);
  }

  async inspect(name: string): Promise<Volume> {
    return this.#encode(this.#getRecord(name));
  }

  async list(filters: Filters = noFilters): Promise<readonly Volume[]> {
    const matches = createListFilter(filters, (name) => this.users(name).length === 0);
    return this.#all().filter(matches);
  }

  async usage(): Promise<readonly Volume[]> {
    const measured: Volume[] = [];
    for (const volume of this.#all()) {
      const Size = await this.#sizeBytes(volume.Name);
      measured.push({
        ...volume,
        UsageData: { Size, RefCount: this.users(volume.Name).length },
      });
    }
    return measured;
  }

  async remove(name: string, options: { readonly force?: boolean } = {}): Promise<void> {
    await this.#mutex.run(name, async () => {
      if (this.#findRecord(name) === undefined) {
        if (options.force === true) return;
        throw noSuchVolume(name);
      }
      await this.#removeUnused(name);
    });
  }

  async prune(filters: Filters = noFilters): Promise<VolumePruneResponse> {
    const matches = createPruneFilter(filters, anonymousVolumeLabel);
    const deleted: string[] = [];
    let reclaimedBytes = 0;
    for (const { Name: name } of this.#all().filter(matches)) {
      await this.#mutex.run(name, async () => {
        if (this.users(name).length > 0 || this.#findRecord(name) === undefined) return;
        const sizeBytes = await this.#sizeBytes(name);
        try {
          await this.#removeUnused(name);
        } catch (error) {
          // A container has taken it meanwhile.
          if (!isKind(error, "conflict")) throw error;
          return;
        }
        deleted.push(name);
        reclaimedBytes += Math.max(0, sizeBytes);
      });
    }
    const attributes = { reclaimed: String(reclaimedBytes) };
    this.#options.events.publish({ type: "volume", action: "prune", id: "", attributes });
    return { VolumesDeleted: deleted, SpaceReclaimed: reclaimedBytes };
  }

  hold(name: string, containerId: string): void {
    this.#getRecord(name);
    setOf(this.#users, name).add(containerId);
  }

  release(name: string, containerId: string): void {
    const users = this.#users.get(name);
    users?.delete(containerId);
    if (users?.size === 0) this.#users.delete(name);
  }

  users(name: string): readonly string[] {
    return [...(this.#users.get(name) ?? [])];
  }

  mount(name: string, options: VolumeMountOptions): { readonly path: string } {
    const record = this.#getRecord(name);
    const path = this.#prepare(record);
    const mountedBy = setOf(this.#mountedBy, name);
    if (mountedBy.has(options.containerId)) return { path };
    mountedBy.add(options.containerId);
    this.#tell("mount", name, {
      container: options.containerId,
      destination: options.target,
      propagation: options.propagation ?? "",
      "read/write": String(!options.isReadOnly),
    });
    return { path };
  }

  unmount(name: string, containerId: string): void {
    const mountedBy = this.#mountedBy.get(name);
    if (mountedBy?.delete(containerId) !== true) return;
    this.#tell("unmount", name, { container: containerId });
    if (mountedBy.size > 0) return;
    this.#mountedBy.delete(name);
    const record = this.#findRecord(name);
    if (record?.options == null) return;
    // Whoever reads it meanwhile, a copy out of it for one, keeps it until it is done.
    unmount(dataPath(this.#folder(name)), { detach: true });
  }

  async populate(name: string, sourceDir: string): Promise<boolean> {
    return await this.#mutex.run(name, async () => {
      const record = this.#getRecord(name);
      if (!isFolder(sourceDir)) return false;
      const path = this.#prepare(record);
      const isMounted = this.#mountedBy.has(name);
      try {
        if (!isEmptyFolder(path)) return false;
        if (isMounted || record.options !== null) await copyTree(sourceDir, path);
        else await copyAtomically(this.#folder(name), sourceDir);
        return true;
      } finally {
        // A tmpfs loses its content with its last mount: the container's start fills it again.
        if (record.options !== null && !this.#mountedBy.has(name)) unmount(path, { detach: true });
      }
    });
  }

  #make(record: VolumeRecord): Volume {
    this.#table.put(record.name, record);
    try {
      makeVolumeFolder(this.#folder(record.name), record.options);
    } catch (error) {
      this.#table.remove(record.name);
      throw error;
    }
    this.#tell("create", record.name);
    return this.#encode(record);
  }

  async #removeUnused(name: string): Promise<void> {
    const users = this.users(name);
    if (users.length > 0) throw volumeInUse(name, users);
    const record = this.#getRecord(name);
    this.#table.put(name, { ...record, isRemoving: true });
    this.#mountedBy.delete(name);
    await removeVolumeFolder(this.#folder(name));
    this.#table.remove(name);
    this.#tell("destroy", name);
  }

  /** Makes the directory of a volume ready to be bound. */
  #prepare(record: VolumeRecord): string {
    const folder = this.#folder(record.name);
    const path = dataPath(folder);
    makeVolumeFolder(folder, record.options);
    const hasOptions = Object.keys(record.options ?? {}).length > 0;
    const driver = hasOptions ? parseDriverOptions(record.options ?? {}) : undefined;
    if (driver !== undefined && !isMountPoint(path)) mountDriver(driver, path);
    return path;
  }

  #recover(): void {
    const { root, logger } = this.#options;
    for (const [name, record] of this.#table.list()) {
      if (record.isRemoving === true) this.#finishRemoval(name);
      else this.#repair(record);
    }
    for (const entry of readdirSync(root, { withFileTypes: true })) {
      const { name } = entry;
      if (!entry.isDirectory() || !isVolumeName(name)) continue;
      if (this.#table.find(name) !== undefined || !isFolder(dataPath(join(root, name)))) continue;
      logger.warn("adopted the directory of a volume without a record", { volume: name });
      this.#table.put(name, this.#lostRecord(name));
    }
  }

  /** One damaged directory does not keep the others from being served. */
  #repair(record: VolumeRecord): void {
    try {
      makeVolumeFolder(this.#folder(record.name), record.options);
    } catch (error) {
      this.#options.logger.error("the directory of a volume is damaged", {
        volume: record.name,
        error: messageOf(error),
      });
    }
  }

  #finishRemoval(name: string): void {
    const work = this.#mutex.run(name, async () => {
      await removeVolumeFolder(this.#folder(name));
      this.#table.remove(name);
    });
    work.catch((error: unknown) => {
      this.#options.logger.error("could not finish the removal of a volume", {
        volume: name,
        error: messageOf(error),
      });
    });
  }

  #lostRecord(name: string): VolumeRecord {
    let options: VolumeRecord["options"] = null;
    try {
      options = readLostOptions(this.#folder(name));
      if (options !== null) parseDriverOptions(options);
    } catch (error) {
      const fields = { volume: name, error: messageOf(error) };
      this.#options.logger.warn("the options of a volume without a record are damaged", fields);
      options = null;
    }
    // Docker: names of 64 hexadecimal digits are its own for anonymous volumes
    const isAnonymous = /^[0-9a-f]{64}$/.test(name);
    return {
      name,
      createdAt: formatSeconds(this.#now()),
      labels: isAnonymous ? { [anonymousVolumeLabel]: "" } : null,
      options,
    };
  }

  #findRecord(name: string): VolumeRecord | undefined {
    const record = this.#table.find(name);
    return record?.isRemoving === true ? undefined : record;
  }

  #getRecord(name: string): VolumeRecord {
    const record = this.#findRecord(name);
    if (record === undefined) throw noSuchVolume(name);
    return record;
  }

  #all(): readonly Volume[] {
    return this.#table
      .list()
      .filter(([, record]) => record.isRemoving !== true)
      .map(([, record]) => this.#encode(record));
  }

  /** −1 when it cannot be known: what is mounted there is not the volume's own. */
  async #sizeBytes(name: string): Promise<number> {
    const path = dataPath(this.#folder(name));
    try {
      return isMountPoint(path) ? -1 : await folderSizeBytes(path);
    } catch (error) {
      const fields = { volume: name, error: messageOf(error) };
      this.#options.logger.warn("could not measure a volume", fields);
      return -1;
    }
  }

  #encode(record: VolumeRecord): Volume {
    return {
      CreatedAt: record.createdAt,
      Driver: driverName,
      Labels: record.labels,
      Mountpoint: dataPath(this.#folder(record.name)),
      Name: record.name,
      Options: record.options,
      Scope: "local",
    };
  }

  #tell(action: string, name: string, attributes: Readonly<Record<string, string>> = {}): void {
    const all = { driver: driverName, ...attributes };
    this.#options.events.publish({ type: "volume", action, id: name, attributes: all });
  }

  #folder(name: string): string {
    return join(this.#options.root, name);
  }

  #now(): Date {
    return this.#options.now?.() ?? new Date();
  }
}

function checkName(name: string): void {
  if (name.length < 2) throw shortVolumeName(name);
  if (!isVolumeName(name)) throw invalidVolumeName(name);
}

function checkOptions(name: string, options: Readonly<Record<string, string>>): void {
  try {
    parseDriverOptions(options);
  } catch (error) {
    if (!isKind(error)) throw error;
    throw new EngineError(error.kind, `create ${name}: ${error.message}`);
  }
}

function formatSeconds(time: Date): string {
  return time.toISOString().replace(/\.\d+Z$/, "Z");
}

function setOf(map: Map<string, Set<string>>, key: string): Set<string> {
  const present = map.get(key);
  if (present !== undefined) return present;
  const made = new Set<string>();
  map.set(key, made);
  return made;
}
