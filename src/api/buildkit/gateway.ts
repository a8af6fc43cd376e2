/**
 * The service by which a client that opened a build without a frontend drives it: buildx does so.
 *
 * Calls name their build in the metadata `buildIdKey`.
 *
 * @see github.com/moby/buildkit, frontend/gateway/pb/gateway.proto
 */
import { grpcMethod, type GrpcMethod } from "../../lib/grpc/method.ts";
import { type RpcStatus, rpcStatusType } from "../../lib/grpc/status.ts";
import {
  boolField,
  bytesMapField,
  message,
  messageField,
  messageListField,
  messageMapField,
  type MessageType,
  stringField,
  stringMapField,
} from "../../lib/protobuf.ts";
import {
  emptyType,
  type Empty,
  type TypedAttrs,
  typedAttrsType,
  type VertexWarning,
  vertexWarningType,
  type WorkerRecord,
  workerRecordType,
} from "./control.ts";
import { type Definition, definitionType } from "./llb.ts";

/** Metadata that names the build of a call. */
export const buildIdKey = "buildkit-controlapi-buildid";

/** Something that the server can do. */
export interface ApiCap {
  readonly id: string;
  readonly enabled: boolean;
  readonly deprecated: boolean;
}

const apiCapType: MessageType<ApiCap> = message<ApiCap>({
  id: stringField(1),
  enabled: boolField(2),
  deprecated: boolField(3),
});

/** What the server can do. */
export interface PongResponse {
  readonly frontendApiCaps: readonly ApiCap[];
  readonly llbCaps: readonly ApiCap[];
  readonly workers: readonly WorkerRecord[];
}

/** Names a result that the server keeps while the build lasts. */
export interface ResultRef {
  readonly id: string;
  readonly def: Definition | undefined;
}

const resultRefType: MessageType<ResultRef> = message<ResultRef>({
  id: stringField(1),
  def: messageField(2, () => definitionType),
});

/** Results by platform. */
export interface ResultRefMap {
  readonly refs: ReadonlyMap<string, ResultRef>;
}

/** A result: one, or one for each platform. */
export interface GatewayResult {
  readonly ref: ResultRef | undefined;
  readonly refs: ResultRefMap | undefined;
  readonly metadata: ReadonlyMap<string, Uint8Array>;
}

const gatewayResultType: MessageType<GatewayResult> = message<GatewayResult>({
  ref: messageField(3, () => resultRefType),
  refs: messageField(4, () =>
    message<ResultRefMap>({ refs: messageMapField(1, () => resultRefType) }),
  ),
  metadata: bytesMapField(10),
});

/** Asks for a result. */
export interface GatewaySolveRequest {
  readonly definition: Definition | undefined;
  readonly frontend: string;
  readonly frontendOpt: ReadonlyMap<string, string>;
  readonly cacheImports: readonly TypedAttrs[];
  readonly frontendInputs: ReadonlyMap<string, Definition>;
  /** Solve now, and not when the result is used. */
  readonly evaluate: boolean;
}

/** The result. */
export interface GatewaySolveResponse {
  readonly result: GatewayResult | undefined;
}

/** Ends a build: with its result or a failure. */
export interface ReturnRequest {
  readonly result: GatewayResult | undefined;
  readonly error: RpcStatus | undefined;
}

/** Names a result. */
export interface EvaluateRequest {
  readonly ref: string;
}

/** Definitions that the build was opened with. */
export interface InputsResponse {
  readonly definitions: ReadonlyMap<string, Definition>;
}

const service = "/moby.buildkit.v1.frontend.LLBBridge";

/** The methods that are served. */
export const gatewayMethods: {
  readonly ping: GrpcMethod<Empty, PongResponse>;
  readonly solve: GrpcMethod<GatewaySolveRequest, GatewaySolveResponse>;
  readonly evaluate: GrpcMethod<EvaluateRequest, Empty>;
  readonly inputs: GrpcMethod<Empty, InputsResponse>;
  readonly return: GrpcMethod<ReturnRequest, Empty>;
  readonly warn: GrpcMethod<VertexWarning, Empty>;
} = {
  ping: grpcMethod(`${service}/Ping`, {
    request: emptyType,
    response: message<PongResponse>({
      frontendApiCaps: messageListField(1, () => apiCapType),
      llbCaps: messageListField(2, () => apiCapType),
      workers: messageListField(3, () => workerRecordType),
    }),
  }),
  solve: grpcMethod(`${service}/Solve`, {
    request: message<GatewaySolveRequest>({
      definition: messageField(1, () => definitionType),
      frontend: stringField(2),
      frontendOpt: stringMapField(3),
      cacheImports: messageListField(12, () => typedAttrsType),
      frontendInputs: messageMapField(13, () => definitionType),
      evaluate: boolField(14),
    }),
    response: message<GatewaySolveResponse>({ result: messageField(3, () => gatewayResultType) }),
  }),
  evaluate: grpcMethod(`${service}/Evaluate`, {
    request: message<EvaluateRequest>({ ref: stringField(1) }),
    response: emptyType,
  }),
  inputs: grpcMethod(`${service}/Inputs`, {
    request: emptyType,
    response: message<InputsResponse>({ definitions: messageMapField(1, () => definitionType) }),
  }),
  return: grpcMethod(`${service}/Return`, {
    request: message<ReturnRequest>({
      result: messageField(1, () => gatewayResultType),
      error: messageField(2, () => rpcStatusType),
    }),
    response: emptyType,
  }),
  warn: grpcMethod(`${service}/Warn`, { request: vertexWarningType, response: emptyType }),
};
