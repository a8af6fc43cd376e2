/**
 * The services of a session: what a client serves while the engine builds for it.
 *
 * The client opens `POST /session`, and is the server on that connection. Headers name the session,
 * and the methods that it serves.
 *
 * @see github.com/moby/buildkit, session/*
 */
import { grpcMethod, type GrpcMethod } from "../../lib/grpc/method.ts";
import {
  intField,
  message,
  type MessageType,
  stringField,
  stringMapField,
} from "../../lib/protobuf.ts";
import { type BytesMessage, bytesMessageType, type Empty, emptyType } from "./control.ts";
import { type Packet, packetMessage } from "./fsutil.ts";

/** Headers of `POST /session`, in lower case. */
export const sessionHeaders = {
  id: "x-docker-expose-session-uuid",
  name: "x-docker-expose-session-name",
  sharedKey: "x-docker-expose-session-sharedkey",
  method: "x-docker-expose-session-grpc-method",
} as const;

/** Metadata of the calls. */
export const sessionKeys = {
  dirName: "dir-name",
  includePatterns: "include-patterns",
  excludePatterns: "exclude-patterns",
  followPaths: "followpaths",
  /** Behind a key: its values are percent-encoded when this is "1". */
  encodedSuffix: "-encoded",
  exporterId: "buildkit-attachable-exporter-id",
  /** Which of several stores of blobs is meant. */
  storeId: "buildkit-attachable-store-id",
  exporterMetaPrefix: "exporter-md-",
  sshId: "buildkit.ssh.id",
  uploadPath: "urlpath",
  uploadHost: "urlhost",
} as const;

/** Asks for a secret. */
export interface GetSecretRequest {
  readonly id: string;
  readonly annotations: ReadonlyMap<string, string>;
}

/** For whom credentials are wanted. */
export interface CredentialsRequest {
  readonly host: string;
}

/** Credentials; without a user name the secret is an identity token. */
export interface CredentialsResponse {
  readonly username: string;
  readonly secret: string;
}

/** Which agent is meant: an ID. */
export interface CheckAgentRequest {
  readonly id: string;
}

/** Asks how a service is. */
export interface HealthCheckRequest {
  readonly service: string;
}

/** 1 is serving. */
export interface HealthCheckResponse {
  readonly status: number;
}

const packets = { request: packetMessage, response: packetMessage };
const bytes = { request: bytesMessageType, response: bytesMessageType };
const idRequestType: MessageType<CheckAgentRequest> = message<CheckAgentRequest>({
  id: stringField(1),
});

/** The methods of a session. */
export const sessionMethods: {
  /** Sends a folder of the client's. */
  readonly fileSync: GrpcMethod<Packet, Packet>;
  /** Takes a folder. Its path is that of `sendFile`: the client knows what it asked for. */
  readonly sendFolder: GrpcMethod<Packet, Packet>;
  /** Takes a file. */
  readonly sendFile: GrpcMethod<BytesMessage, BytesMessage>;
  readonly getSecret: GrpcMethod<GetSecretRequest, BytesMessage>;
  readonly credentials: GrpcMethod<CredentialsRequest, CredentialsResponse>;
  readonly checkAgent: GrpcMethod<CheckAgentRequest, Empty>;
  readonly forwardAgent: GrpcMethod<BytesMessage, BytesMessage>;
  /** Sends what the client has on its stdin. */
  readonly pull: GrpcMethod<BytesMessage, BytesMessage>;
  readonly health: GrpcMethod<HealthCheckRequest, HealthCheckResponse>;
} = {
  fileSync: grpcMethod("/moby.filesync.v1.FileSync/DiffCopy", packets),
  sendFolder: grpcMethod("/moby.filesync.v1.FileSend/DiffCopy", packets),
  sendFile: grpcMethod("/moby.filesync.v1.FileSend/DiffCopy", bytes),
  getSecret: grpcMethod("/moby.buildkit.secrets.v1.Secrets/GetSecret", {
    request: message<GetSecretRequest>({ id: stringField(1), annotations: stringMapField(2) }),
    response: bytesMessageType,
  }),
  credentials: grpcMethod("/moby.filesync.v1.Auth/Credentials", {
    request: message<CredentialsRequest>({ host: stringField(1) }),
    response: message<CredentialsResponse>({ username: stringField(1), secret: stringField(2) }),
  }),
  checkAgent: grpcMethod("/moby.sshforward.v1.SSH/CheckAgent", {
    request: idRequestType,
    response: emptyType,
  }),
  forwardAgent: grpcMethod("/moby.sshforward.v1.SSH/ForwardAgent", bytes),
  pull: grpcMethod("/moby.upload.v1.Upload/Pull", bytes),
  health: grpcMethod("/grpc.health.v1.Health/Check", {
    request: message<HealthCheckRequest>({ service: stringField(1) }),
    response: message<HealthCheckResponse>({ status: intField(1) }),
  }),
};

/** Values as they travel in metadata: percent-encoded, with a mark, when any is not ASCII. */
export function encodeSessionValues(
  key: string,
  values: readonly string[],
): readonly (readonly [string, readonly string[]])[] {
  // A header may hold neither line ends nor other control characters.
  const isPlain = values.every((value) => /^[\x20-\x7e]*$/.test(value));
  if (isPlain) return [[key, values]];
  const encoded = values.map((value) => encodeURIComponent(value).replace(/%20/g, "+"));
  return [
    [key, encoded],
    [`${key}${sessionKeys.encodedSuffix}`, ["1"]],
  ];
}

/** The values of a key as they were before they travelled. */
export function decodeSessionValues(
  metadata: ReadonlyMap<string, readonly string[]>,
  key: string,
): readonly string[] {
  const values = metadata.get(key) ?? [];
  if (metadata.get(`${key}${sessionKeys.encodedSuffix}`)?.[0] !== "1") return values;
  return values.map(decodeValue);
}

function decodeValue(value: string): string {
  try {
    return decodeURIComponent(value.replace(/\+/g, "%20"));
  } catch (error) {
    if (error instanceof URIError) return value;
    throw error;
  }
}
