/**
 * Stores of blobs that a client serves in its session: folders of caches, image layouts.
 *
 * The metadata's `sessionKeys.storeId` says which store is meant.
 *
 * @see github.com/containerd/containerd, api/services/content/v1/content.proto
 */
import { grpcMethod, type GrpcMethod } from "../../lib/grpc/method.ts";
import {
  bytesField,
  intField,
  message,
  messageField,
  type MessageType,
  stringField,
  stringMapField,
} from "../../lib/protobuf.ts";
import { type Empty, emptyType, type Timestamp, timestampType } from "./control.ts";

/** What is known of a blob. */
export interface BlobFacts {
  readonly digest: string;
  readonly size: number;
  readonly createdAt: Timestamp | undefined;
  readonly updatedAt: Timestamp | undefined;
  readonly labels: ReadonlyMap<string, string>;
}

/** Asks of a blob. */
export interface InfoRequest {
  readonly digest: string;
}

/** Answers that. */
export interface InfoResponse {
  readonly info: BlobFacts | undefined;
}

/** Asks for bytes; all that follow when `size` is 0. */
export interface ReadRequest {
  readonly digest: string;
  readonly offset: number;
  readonly size: number;
}

/** Some bytes. */
export interface ReadResponse {
  readonly offset: number;
  readonly data: Uint8Array;
}

/** How far an unfinished write is. */
export interface WriteStatus {
  readonly startedAt: Timestamp | undefined;
  readonly updatedAt: Timestamp | undefined;
  readonly ref: string;
  readonly offset: number;
  readonly total: number;
  readonly expected: string;
}

/** Names a write. */
export interface WriteRef {
  readonly ref: string;
}

/** Answers how far it is. */
export interface WriteStatusResponse {
  readonly status: WriteStatus | undefined;
}

/** What a message of a write asks. */
export const writeActions = { stat: 0, write: 1, commit: 2 } as const;

/** One message of a write. */
export interface WriteRequest {
  readonly action: number;
  /** Names the write; in the first message at least. */
  readonly ref: string;
  /** Bytes in all; 0 where nobody knows. */
  readonly total: number;
  /** Digest of the whole; "" where nobody knows. */
  readonly expected: string;
  readonly offset: number;
  readonly data: Uint8Array;
  readonly labels: ReadonlyMap<string, string>;
}

/** Answers each. */
export interface WriteResponse {
  readonly action: number;
  readonly startedAt: Timestamp | undefined;
  readonly updatedAt: Timestamp | undefined;
  readonly offset: number;
  readonly total: number;
  readonly digest: string;
}

const factsType: MessageType<BlobFacts> = message<BlobFacts>({
  digest: stringField(1),
  size: intField(2),
  createdAt: messageField(3, () => timestampType),
  updatedAt: messageField(4, () => timestampType),
  labels: stringMapField(5),
});

const statusType: MessageType<WriteStatus> = message<WriteStatus>({
  startedAt: messageField(1, () => timestampType),
  updatedAt: messageField(2, () => timestampType),
  ref: stringField(3),
  offset: intField(4),
  total: intField(5),
  expected: stringField(6),
});

const refType: MessageType<WriteRef> = message<WriteRef>({ ref: stringField(1) });
const service = "/containerd.services.content.v1.Content";

/** The methods that builds need. */
export const contentMethods: {
  readonly info: GrpcMethod<InfoRequest, InfoResponse>;
  /** Asked once, answered with any number of pieces. */
  readonly read: GrpcMethod<ReadRequest, ReadResponse>;
  readonly status: GrpcMethod<WriteRef, WriteStatusResponse>;
  /** Each message is answered before the next one is sent. */
  readonly write: GrpcMethod<WriteRequest, WriteResponse>;
  readonly abort: GrpcMethod<WriteRef, Empty>;
} = {
  info: grpcMethod(`${service}/Info`, {
    request: message<InfoRequest>({ digest: stringField(1) }),
    response: message<InfoResponse>({ info: messageField(1, () => factsType) }),
  }),
  read: grpcMethod(`${service}/Read`, {
    request: message<ReadRequest>({
      digest: stringField(1),
      offset: intField(2),
      size: intField(3),
    }),
    response: message<ReadResponse>({ offset: intField(1), data: bytesField(2) }),
  }),
  status: grpcMethod(`${service}/Status`, {
    request: refType,
    response: message<WriteStatusResponse>({ status: messageField(1, () => statusType) }),
  }),
  write: grpcMethod(`${service}/Write`, {
    request: message<WriteRequest>({
      action: intField(1),
      ref: stringField(2),
      total: intField(3),
      expected: stringField(4),
      offset: intField(5),
      data: bytesField(6),
      labels: stringMapField(7),
    }),
    response: message<WriteResponse>({
      action: intField(1),
      startedAt: messageField(2, () => timestampType),
      updatedAt: messageField(3, () => timestampType),
      offset: intField(4),
      total: intField(5),
      digest: stringField(6),
    }),
  }),
  abort: grpcMethod(`${service}/Abort`, { request: refType, response: emptyType }),
};
