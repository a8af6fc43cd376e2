/**
 * The service through which a client builds.
 *
 * @see github.com/moby/buildkit, api/services/control/control.proto and api/types/worker.proto
 */
import { grpcMethod, type GrpcMethod } from "../../lib/grpc/method.ts";
import {
  boolField,
  bytesField,
  bytesListField,
  bigintField,
  intField,
  message,
  messageField,
  messageListField,
  messageMapField,
  type MessageType,
  stringField,
  stringListField,
  stringMapField,
} from "../../lib/protobuf.ts";
import {
  type Definition,
  definitionType,
  type PbPlatform,
  pbPlatformType,
  type ProgressGroup,
  progressGroupType,
  type SourceInfo,
  sourceInfoType,
  type SourceRange,
  sourceRangeType,
} from "./llb.ts";

/** A moment. @see google/protobuf/timestamp.proto */
export interface Timestamp {
  readonly seconds: bigint;
  readonly nanos: number;
}

/** Table of `Timestamp`. */
export const timestampType: MessageType<Timestamp> = message<Timestamp>({
  seconds: bigintField(1),
  nanos: intField(2),
});

const secondNs = 1_000_000_000n;

/** The moment so many nanoseconds after 1970. */
export function timestampOfNs(ns: bigint): Timestamp {
  const nanos = ((ns % secondNs) + secondNs) % secondNs;
  return { seconds: (ns - nanos) / secondNs, nanos: Number(nanos) };
}

/** Nanoseconds since 1970. */
export function nsOfTimestamp(time: Timestamp): bigint {
  return time.seconds * secondNs + BigInt(time.nanos);
}

/** An exporter or a cache: its type and attributes. */
export interface TypedAttrs {
  readonly type: string;
  readonly attrs: ReadonlyMap<string, string>;
}

/** Table of `TypedAttrs`. */
export const typedAttrsType: MessageType<TypedAttrs> = message<TypedAttrs>({
  type: stringField(1),
  attrs: stringMapField(2),
});

/** Where cache is read from and written to. */
export interface CacheOptions {
  readonly exports: readonly TypedAttrs[];
  readonly imports: readonly TypedAttrs[];
}

const cacheOptionsType: MessageType<CacheOptions> = message<CacheOptions>({
  exports: messageListField(4, () => typedAttrsType),
  imports: messageListField(5, () => typedAttrsType),
});

/** One build. */
export interface SolveRequest {
  /** The client's name of the build. */
  readonly ref: string;
  readonly definition: Definition | undefined;
  /** Before several exporters were possible: the only one. */
  readonly exporter: string;
  readonly exporterAttrs: ReadonlyMap<string, string>;
  /** ID of the session that has files, secrets and credentials. */
  readonly session: string;
  /** Empty when the client itself is the frontend, through `LLBBridge`. */
  readonly frontend: string;
  readonly frontendAttrs: ReadonlyMap<string, string>;
  readonly cache: CacheOptions | undefined;
  readonly entitlements: readonly string[];
  readonly frontendInputs: ReadonlyMap<string, Definition>;
  readonly internal: boolean;
  readonly exporters: readonly TypedAttrs[];
}

const solveRequestType: MessageType<SolveRequest> = message<SolveRequest>({
  ref: stringField(1),
  definition: messageField(2, () => definitionType),
  exporter: stringField(3),
  exporterAttrs: stringMapField(4),
  session: stringField(5),
  frontend: stringField(6),
  frontendAttrs: stringMapField(7),
  cache: messageField(8, () => cacheOptionsType),
  entitlements: stringListField(9),
  frontendInputs: messageMapField(10, () => definitionType),
  internal: boolField(11),
  exporters: messageListField(13, () => typedAttrsType),
});

/** What a build made, by key: `containerimage.digest`, …. */
export interface SolveResponse {
  readonly exporterResponse: ReadonlyMap<string, string>;
}

const solveResponseType: MessageType<SolveResponse> = message<SolveResponse>({
  exporterResponse: stringMapField(1),
});

/** Asks for the progress of a build, from its beginning. */
export interface StatusRequest {
  readonly ref: string;
}

const statusRequestType: MessageType<StatusRequest> = message<StatusRequest>({
  ref: stringField(1),
});

/** A step. Sent again whenever something of it changes. */
export interface Vertex {
  readonly digest: string;
  readonly inputs: readonly string[];
  readonly name: string;
  readonly cached: boolean;
  readonly started: Timestamp | undefined;
  readonly completed: Timestamp | undefined;
  readonly error: string;
  readonly progressGroup: ProgressGroup | undefined;
}

const vertexType: MessageType<Vertex> = message<Vertex>({
  digest: stringField(1),
  inputs: stringListField(2),
  name: stringField(3),
  cached: boolField(4),
  started: messageField(5, () => timestampType),
  completed: messageField(6, () => timestampType),
  error: stringField(7),
  progressGroup: messageField(8, () => progressGroupType),
});

/** How far a part of a step is. */
export interface VertexStatus {
  readonly id: string;
  readonly vertex: string;
  readonly name: string;
  readonly current: number;
  readonly total: number;
  readonly timestamp: Timestamp | undefined;
  readonly started: Timestamp | undefined;
  readonly completed: Timestamp | undefined;
}

const vertexStatusType: MessageType<VertexStatus> = message<VertexStatus>({
  id: stringField(1),
  vertex: stringField(2),
  name: stringField(3),
  current: intField(4),
  total: intField(5),
  timestamp: messageField(6, () => timestampType),
  started: messageField(7, () => timestampType),
  completed: messageField(8, () => timestampType),
});

/** Output of a step. */
export interface VertexLog {
  readonly vertex: string;
  readonly timestamp: Timestamp | undefined;
  /** 1 or 2, as file descriptors. */
  readonly stream: number;
  readonly msg: Uint8Array;
}

const vertexLogType: MessageType<VertexLog> = message<VertexLog>({
  vertex: stringField(1),
  timestamp: messageField(2, () => timestampType),
  stream: intField(3),
  msg: bytesField(4),
});

/** A finding of the linter. */
export interface VertexWarning {
  readonly vertex: string;
  readonly level: number;
  readonly short: Uint8Array;
  readonly detail: readonly Uint8Array[];
  readonly url: string;
  readonly info: SourceInfo | undefined;
  readonly ranges: readonly SourceRange[];
}

/** Table of `VertexWarning`. */
export const vertexWarningType: MessageType<VertexWarning> = message<VertexWarning>({
  vertex: stringField(1),
  level: intField(2),
  short: bytesField(3),
  detail: bytesListField(4),
  url: stringField(5),
  info: messageField(6, () => sourceInfoType),
  ranges: messageListField(7, () => sourceRangeType),
});

/** Progress since the last answer. */
export interface StatusResponse {
  readonly vertexes: readonly Vertex[];
  readonly statuses: readonly VertexStatus[];
  readonly logs: readonly VertexLog[];
  readonly warnings: readonly VertexWarning[];
}

const statusResponseType: MessageType<StatusResponse> = message<StatusResponse>({
  vertexes: messageListField(1, () => vertexType),
  statuses: messageListField(2, () => vertexStatusType),
  logs: messageListField(3, () => vertexLogType),
  warnings: messageListField(4, () => vertexWarningType),
});

/** A message without fields. */
export type Empty = Readonly<Record<never, never>>;

/** Table of `Empty`. */
export const emptyType: MessageType<Empty> = message<Empty>({});

/** Which records of the cache are wanted. */
export interface DiskUsageRequest {
  readonly filter: readonly string[];
}

const diskUsageRequestType: MessageType<DiskUsageRequest> = message<DiskUsageRequest>({
  filter: stringListField(1),
});

/** A record of the cache. */
export interface UsageRecord {
  readonly id: string;
  readonly mutable: boolean;
  readonly inUse: boolean;
  readonly size: number;
  readonly createdAt: Timestamp | undefined;
  readonly lastUsedAt: Timestamp | undefined;
  readonly usageCount: number;
  readonly description: string;
  readonly recordType: string;
  readonly shared: boolean;
  readonly parents: readonly string[];
}

const usageRecordType: MessageType<UsageRecord> = message<UsageRecord>({
  id: stringField(1),
  mutable: boolField(2),
  inUse: boolField(3),
  size: intField(4),
  createdAt: messageField(6, () => timestampType),
  lastUsedAt: messageField(7, () => timestampType),
  usageCount: intField(8),
  description: stringField(9),
  recordType: stringField(10),
  shared: boolField(11),
  parents: stringListField(12),
});

/** The cache's records. */
export interface DiskUsageResponse {
  readonly record: readonly UsageRecord[];
}

const diskUsageResponseType: MessageType<DiskUsageResponse> = message<DiskUsageResponse>({
  record: messageListField(1, () => usageRecordType),
});

/** What of the cache is to go. */
export interface PruneRequest {
  readonly filter: readonly string[];
  readonly all: boolean;
  /** Nanoseconds. */
  readonly keepDuration: number;
  readonly reservedSpace: number;
  readonly maxUsedSpace: number;
  readonly minFreeSpace: number;
}

const pruneRequestType: MessageType<PruneRequest> = message<PruneRequest>({
  filter: stringListField(1),
  all: boolField(2),
  keepDuration: intField(3),
  reservedSpace: intField(4),
  maxUsedSpace: intField(5),
  minFreeSpace: intField(6),
});

/** Which program it is. */
export interface BuildkitVersion {
  readonly package: string;
  readonly version: string;
  readonly revision: string;
}

const buildkitVersionType: MessageType<BuildkitVersion> = message<BuildkitVersion>({
  package: stringField(1),
  version: stringField(2),
  revision: stringField(3),
});

/** Who builds. */
export interface WorkerRecord {
  readonly id: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly platforms: readonly PbPlatform[];
  readonly buildkitVersion: BuildkitVersion | undefined;
}

/** Table of `WorkerRecord`. */
export const workerRecordType: MessageType<WorkerRecord> = message<WorkerRecord>({
  id: stringField(1),
  labels: stringMapField(2),
  platforms: messageListField(3, () => pbPlatformType),
  buildkitVersion: messageField(5, () => buildkitVersionType),
});

/** Asks for workers; the filter is containerd's. */
export interface ListWorkersRequest {
  readonly filter: readonly string[];
}

/** The workers. */
export interface ListWorkersResponse {
  readonly record: readonly WorkerRecord[];
}

/** Which program answers. */
export interface InfoResponse {
  readonly buildkitVersion: BuildkitVersion | undefined;
}

/** A piece of a stream of bytes. */
export interface BytesMessage {
  readonly data: Uint8Array;
}

/** Table of `BytesMessage`. */
export const bytesMessageType: MessageType<BytesMessage> = message<BytesMessage>({
  data: bytesField(1),
});

const service = "/moby.buildkit.v1.Control";

/** The methods of the service. */
export const controlMethods: {
  readonly solve: GrpcMethod<SolveRequest, SolveResponse>;
  readonly status: GrpcMethod<StatusRequest, StatusResponse>;
  readonly info: GrpcMethod<Empty, InfoResponse>;
  readonly listWorkers: GrpcMethod<ListWorkersRequest, ListWorkersResponse>;
  readonly diskUsage: GrpcMethod<DiskUsageRequest, DiskUsageResponse>;
  readonly prune: GrpcMethod<PruneRequest, UsageRecord>;
  readonly session: GrpcMethod<BytesMessage, BytesMessage>;
} = {
  solve: grpcMethod(`${service}/Solve`, { request: solveRequestType, response: solveResponseType }),
  status: grpcMethod(`${service}/Status`, {
    request: statusRequestType,
    response: statusResponseType,
  }),
  info: grpcMethod(`${service}/Info`, {
    request: emptyType,
    response: message<InfoResponse>({
      buildkitVersion: messageField(1, () => buildkitVersionType),
    }),
  }),
  listWorkers: grpcMethod(`${service}/ListWorkers`, {
    request: message<ListWorkersRequest>({ filter: stringListField(1) }),
    response: message<ListWorkersResponse>({
      record: messageListField(1, () => workerRecordType),
    }),
  }),
  diskUsage: grpcMethod(`${service}/DiskUsage`, {
    request: diskUsageRequestType,
    response: diskUsageResponseType,
  }),
  prune: grpcMethod(`${service}/Prune`, { request: pruneRequestType, response: usageRecordType }),
  session: grpcMethod(`${service}/Session`, {
    request: bytesMessageType,
    response: bytesMessageType,
  }),
};
