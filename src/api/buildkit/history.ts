/**
 * The builds that there were: what clients list, look at and remove.
 *
 * @see github.com/moby/buildkit, api/services/control/control.proto
 */
import { grpcMethod, type GrpcMethod } from "../../lib/grpc/method.ts";
import { type RpcStatus, rpcStatusType } from "../../lib/grpc/status.ts";
import {
  boolField,
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
  type Empty,
  emptyType,
  type Timestamp,
  timestampType,
  type TypedAttrs,
  typedAttrsType,
} from "./control.ts";

/** Asks for records, and for what becomes of them. */
export interface HistoryRequest {
  readonly activeOnly: boolean;
  /** One build; all when empty. */
  readonly ref: string;
  /** What there is now, and no more. */
  readonly earlyExit: boolean;
  /** Any of them; each is a line of CSV, whose parts hold all. */
  readonly filter: readonly string[];
  /** 0 for all. */
  readonly limit: number;
}

/** Table of `HistoryRequest`. */
export const historyRequestType: MessageType<HistoryRequest> = message<HistoryRequest>({
  activeOnly: boolField(1),
  ref: stringField(2),
  earlyExit: boolField(3),
  filter: stringListField(4),
  limit: intField(5),
});

/** What has become of a record. */
export const historyEvents = { started: 0, completed: 1, deleted: 2 } as const;

/** A blob that the content service has. */
export interface HistoryBlob {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations: ReadonlyMap<string, string>;
}

const blobType: MessageType<HistoryBlob> = message<HistoryBlob>({
  mediaType: stringField(1),
  digest: stringField(2),
  size: intField(3),
  annotations: stringMapField(5),
});

/** What one output has come to, by the number of the output. */
export interface HistoryOutput {
  readonly number: number;
  readonly blob: HistoryBlob | undefined;
}

/** What a build has come to. */
export interface HistoryResult {
  readonly attestations: readonly HistoryBlob[];
  readonly results: readonly HistoryOutput[];
}

const resultType: MessageType<HistoryResult> = message<HistoryResult>({
  attestations: messageListField(2, () => blobType),
  results: messageListField(3, () =>
    message<HistoryOutput>({ number: intField(1), blob: messageField(2, () => blobType) }),
  ),
});

/** One build. */
export interface HistoryRecord {
  readonly ref: string;
  readonly frontend: string;
  readonly frontendAttrs: ReadonlyMap<string, string>;
  readonly exporters: readonly TypedAttrs[];
  /** Why it failed; absent while it runs and when it did not. */
  readonly error: RpcStatus | undefined;
  readonly createdAt: Timestamp | undefined;
  readonly completedAt: Timestamp | undefined;
  readonly exporterResponse: ReadonlyMap<string, string>;
  readonly result: HistoryResult | undefined;
  /** By platform, of builds for several. */
  readonly results: ReadonlyMap<string, HistoryResult>;
  /** Counts the record's changes. */
  readonly generation: number;
  /** Kept until it is removed. */
  readonly pinned: boolean;
  readonly cachedSteps: number;
  readonly totalSteps: number;
  readonly completedSteps: number;
  readonly warnings: number;
}

const recordType: MessageType<HistoryRecord> = message<HistoryRecord>({
  ref: stringField(1),
  frontend: stringField(2),
  frontendAttrs: stringMapField(3),
  exporters: messageListField(4, () => typedAttrsType),
  error: messageField(5, () => rpcStatusType),
  createdAt: messageField(6, () => timestampType),
  completedAt: messageField(7, () => timestampType),
  exporterResponse: stringMapField(9),
  result: messageField(10, () => resultType),
  results: messageMapField(11, () => resultType),
  generation: intField(12),
  pinned: boolField(14),
  cachedSteps: intField(15),
  totalSteps: intField(16),
  completedSteps: intField(17),
  warnings: intField(19),
});

/** A change of a record. */
export interface HistoryEvent {
  /** One of `historyEvents`. */
  readonly type: number;
  readonly record: HistoryRecord | undefined;
}

const eventType: MessageType<HistoryEvent> = message<HistoryEvent>({
  type: intField(1),
  record: messageField(2, () => recordType),
});

/** Changes a record. */
export interface HistoryUpdate {
  readonly ref: string;
  readonly pinned: boolean;
  readonly delete: boolean;
  /** All of it is to be there; records of ended builds are whole. */
  readonly finalize: boolean;
}

const updateType: MessageType<HistoryUpdate> = message<HistoryUpdate>({
  ref: stringField(1),
  pinned: boolField(2),
  delete: boolField(3),
  finalize: boolField(4),
});

const service = "/moby.buildkit.v1.Control";
/** Header of the answer that tells the engine's time, for how long a build has run. */
export const historyTimeHeader = "buildkit-current-timestamp";

/** The methods. */
export const historyMethods: {
  /** Asked once. */
  readonly listen: GrpcMethod<HistoryRequest, HistoryEvent>;
  readonly update: GrpcMethod<HistoryUpdate, Empty>;
} = {
  listen: grpcMethod(`${service}/ListenBuildHistory`, {
    request: historyRequestType,
    response: eventType,
  }),
  update: grpcMethod(`${service}/UpdateBuildHistory`, {
    request: updateType,
    response: emptyType,
  }),
};
