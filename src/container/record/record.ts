/**
 * What is stored of a container.
 *
 * The record is the truth after a restart of the daemon. `task` is there from the moment a start
 * takes hold of anything (shim, address, volume) until all of it is given back, so that whoever
 * finds the record can give it back.
 */
import type { ContainerConfig, HostConfig } from "../../api/container-config.ts";
import type { EndpointSettings } from "../../api/network.ts";
import { EngineError } from "../../lib/errors.ts";
import type { TableDefinition } from "../../metadata/metadata.ts";
import type { Endpoint, PublishedPort } from "../../network/network-service.ts";

/** Where a container stands. `starting` and `exited` hold on the way to and from `running`. */
export const phases = [
  "created",
  "starting",
  "running",
  "paused",
  "exited",
  "removing",
  "dead",
] as const;
/** One of `phases`. */
export type Phase = (typeof phases)[number];

/** A mount as it was resolved when the container was created. */
export interface StoredMount {
  readonly type: "bind" | "volume" | "tmpfs";
  readonly target: string;
  /** `bind`: host path. */
  readonly source?: string;
  /** `volume`: its name. */
  readonly volume?: string;
  readonly driver?: string;
  /** `volume`: made with this container and named by nobody; goes with it when asked. */
  readonly isAnonymous?: boolean;
  readonly isReadOnly: boolean;
  /** As inspect shows it: the options of `-v`. */
  readonly mode: string;
  readonly propagation: string;
  readonly isRecursive: boolean;
  readonly readOnlyDepth?: "recursive" | "forced" | "top";
  /** `tmpfs`: mount options. */
  readonly options?: readonly string[];
  /** `volume`: directory inside it. */
  readonly subpath?: string;
  /** `volume`: the image's content is not copied into it. */
  readonly isCopyDisabled?: boolean;
  /** `bind` by `-v`: the directory is made when it is missing. */
  readonly isSourceMade?: boolean;
  /** `tmpfs` of `HostConfig.Tmpfs`: not told as a mount. */
  readonly isHidden?: boolean;
}

/** The image a container was made from. */
export interface StoredImage {
  readonly id: string;
  /** Name of the committed snapshot below the container's. */
  readonly chainId?: string;
  readonly manifestDigest?: string;
  readonly manifestSizeBytes?: number;
}

/** What a container that starts, runs, or has just ended, holds. */
export interface StoredTask {
  readonly shimName: string;
  readonly pid?: number;
  /** Clock ticks, decimal digits. */
  readonly pidStartTime?: string;
  readonly endpoint?: Endpoint;
  readonly ports: readonly PublishedPort[];
  /** True: the process has ended and its status is stored; only giving back remains. */
  readonly hasEnded?: boolean;
}

/** One container. */
export interface ContainerRecord {
  readonly version: 1;
  readonly id: string;
  /** Without slash. */
  readonly name: string;
  /** Nanoseconds since 1970, as decimal digits; so are all times here. */
  readonly createdNs: string;
  readonly image: StoredImage;
  /** Merged with the image's. */
  readonly config: ContainerConfig;
  /** As inspect shows it, zero values filled in. */
  readonly hostConfig: HostConfig;
  readonly endpointSettings: Readonly<Record<string, EndpointSettings>>;
  readonly args: readonly string[];
  readonly mounts: readonly StoredMount[];
  readonly phase: Phase;
  readonly exitCode: number;
  readonly error: string;
  readonly isOomKilled: boolean;
  readonly startedNs?: string;
  readonly finishedNs?: string;
  readonly task?: StoredTask;
  /** Its processes are stopped by a commit, which will let them go on; a crash must not keep them. */
  readonly isCommitPaused?: boolean;
  /** What a removal in progress was asked. */
  readonly removal?: { readonly volumes: boolean };
}

/** The table of containers, by ID. */
export const containerTable: TableDefinition<ContainerRecord> = {
  name: "containers",
  decode: decodeContainerRecord,
};

/**
 * Checks a stored document. It was written here and is trusted in what does not decide anything:
 * configurations are passed on as they are.
 *
 * @throws data-loss for a document that is no container
 */
export function decodeContainerRecord(document: unknown): ContainerRecord {
  const record = object(document, "record");
  if (record["version"] !== 1) throw damaged("version");
  const id = text(record, "id");
  if (!/^[0-9a-f]{64}$/.test(id)) throw damaged("id");
  for (const key of ["createdNs", "name", "error"]) text(record, key);
  for (const key of ["config", "hostConfig", "endpointSettings", "image"]) {
    object(record[key], key);
  }
  for (const key of ["args", "mounts"]) if (!Array.isArray(record[key])) throw damaged(key);
  for (const mount of record["mounts"] as unknown[]) {
    const fields = object(mount, "mounts");
    for (const key of ["type", "target", "mode", "propagation"]) text(fields, key);
  }
  text(object(record["image"], "image"), "id");
  if (!phases.some((phase) => phase === record["phase"])) throw damaged("phase");
  if (!Number.isSafeInteger(record["exitCode"])) throw damaged("exitCode");
  for (const key of ["createdNs", "startedNs", "finishedNs"]) {
    if (record[key] !== undefined && !/^\d{1,20}$/.test(text(record, key))) throw damaged(key);
  }
  if (record["task"] !== undefined) decodeTask(object(record["task"], "task"));
  return document as ContainerRecord;
}

function decodeTask(task: Readonly<Record<string, unknown>>): void {
  // It becomes part of a path.
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(text(task, "shimName"))) throw damaged("task.shimName");
  if (!Array.isArray(task["ports"])) throw damaged("task.ports");
  if (
    task["pid"] !== undefined &&
    !(Number.isSafeInteger(task["pid"]) && Number(task["pid"]) > 1)
  ) {
    throw damaged("task.pid");
  }
  if (task["pidStartTime"] !== undefined && !/^\d+$/.test(text(task, "pidStartTime"))) {
    throw damaged("task.pidStartTime");
  }
  if (task["endpoint"] !== undefined) text(object(task["endpoint"], "endpoint"), "endpointId");
}

function object(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw damaged(what);
  return value as Readonly<Record<string, unknown>>;
}

function text(record: Readonly<Record<string, unknown>>, key: string): string {
  const value = record[key];
  if (typeof value !== "string") throw damaged(key);
  return value;
}

function damaged(what: string): EngineError {
  return new EngineError("data-loss", `read container record: bad ${what}`);
}
