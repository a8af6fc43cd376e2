/**
 * Content stores that a client serves in its session: OCI layouts that are contexts, folders of cache.
 *
 * Calls name the store in the metadata `storeIdKey`.
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

/** Metadata that names the store of a call. */
export const storeIdKey = "buildkit-attachable-store-id";

/** Names a blob. */
export interface ContentInfoRequest {
  readonly digest: string;
}

/** A blob. */
export interface ContentInfo {
  readonly digest: string;
  readonly size: number;
}

const contentInfoType: MessageType<ContentInfo> = message<ContentInfo>({
  digest: stringField(1),
  size: intField(2),
});

/** A blob, if there is one. */
export interface ContentInfoResponse {
  readonly info: ContentInfo | undefined;
}

/** A stretch of a blob; all of it when both are 0. */
export interface ReadContentRequest {
  readonly digest: string;
  readonly offset: number;
  readonly size: number;
}

/** A piece of a blob. */
export interface ReadContentResponse {
  readonly offset: number;
  readonly data: Uint8Array;
}

/** What a write does. */
export const writeAction = { stat: 0, write: 1, commit: 2 } as const;

/** A step of writing a blob. */
export interface WriteContentRequest {
  readonly action: number;
  /** Names the unfinished write. */
  readonly ref: string;
  readonly total: number;
  readonly expected: string;
  readonly offset: number;
  readonly data: Uint8Array;
  readonly labels: ReadonlyMap<string, string>;
}

/** How far a write is. */
export interface WriteContentResponse {
  readonly action: number;
  readonly offset: number;
  readonly digest: string;
}

const service = "/containerd.services.content.v1.Content";

/** The methods that are used. */
export const contentMethods: {
  readonly info: GrpcMethod<ContentInfoRequest, ContentInfoResponse>;
  readonly read: GrpcMethod<ReadContentRequest, ReadContentResponse>;
  readonly write: GrpcMethod<WriteContentRequest, WriteContentResponse>;
} = {
  info: grpcMethod(`${service}/Info`, {
    request: message<ContentInfoRequest>({ digest: stringField(1) }),
    response: message<ContentInfoResponse>({ info: messageField(1, () => contentInfoType) }),
  }),
  read: grpcMethod(`${service}/Read`, {
    request: message<ReadContentRequest>({
      digest: stringField(1),
      offset: intField(2),
      size: intField(3),
    }),
    response: message<ReadContentResponse>({ offset: intField(1), data: bytesField(2) }),
  }),
  write: grpcMethod(`${service}/Write`, {
    request: message<WriteContentRequest>({
      action: intField(1),
      ref: stringField(2),
      total: intField(3),
      expected: stringField(4),
      offset: intField(5),
      data: bytesField(6),
      labels: stringMapField(7),
    }),
    response: message<WriteContentResponse>({
      action: intField(1),
      offset: intField(4),
      digest: stringField(6),
    }),
  }),
};
