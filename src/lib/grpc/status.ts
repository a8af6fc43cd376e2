/** How a gRPC call ended: codes, and the trailers that carry them. */
import { EngineError, type ErrorKind, isKind, messageOf } from "../errors.ts";
import {
  bytesField,
  decodeMessage,
  encodeMessage,
  intField,
  message,
  messageListField,
  type MessageType,
  stringField,
} from "../protobuf.ts";

/** Codes by name. @see gRPC, statuscodes.md */
export const grpcCode = {
  ok: 0,
  canceled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;

/** A message of any type. @see google/protobuf/any.proto */
export interface AnyMessage {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

/** Table of `AnyMessage`. */
export const anyMessageType: MessageType<AnyMessage> = message<AnyMessage>({
  typeUrl: stringField(1),
  value: bytesField(2),
});

/** A status with all that it tells. @see google/rpc/status.proto */
export interface RpcStatus {
  readonly code: number;
  readonly message: string;
  readonly details: readonly AnyMessage[];
}

/** Table of `RpcStatus`. */
export const rpcStatusType: MessageType<RpcStatus> = message<RpcStatus>({
  code: intField(1),
  message: stringField(2),
  details: messageListField(3, () => anyMessageType),
});

/** The key of `EngineError.details` under which an error keeps its typed details. */
export const statusDetailsKey = "rpcDetails";
/** The key under which it keeps its code, where that is not the one of its kind. */
export const statusCodeKey = "grpcCode";

const codeOfKind: Readonly<Record<ErrorKind, number>> = {
  "invalid-argument": grpcCode.invalidArgument,
  "not-found": grpcCode.notFound,
  "already-exists": grpcCode.alreadyExists,
  conflict: grpcCode.failedPrecondition,
  "not-modified": grpcCode.failedPrecondition,
  unauthorized: grpcCode.unauthenticated,
  "permission-denied": grpcCode.permissionDenied,
  unavailable: grpcCode.unavailable,
  "not-implemented": grpcCode.unimplemented,
  canceled: grpcCode.canceled,
  "deadline-exceeded": grpcCode.deadlineExceeded,
  "data-loss": grpcCode.dataLoss,
  internal: grpcCode.unknown,
};

const kindOfCode: ReadonlyMap<number, ErrorKind> = new Map([
  [grpcCode.canceled, "canceled"],
  [grpcCode.invalidArgument, "invalid-argument"],
  [grpcCode.deadlineExceeded, "deadline-exceeded"],
  [grpcCode.notFound, "not-found"],
  [grpcCode.alreadyExists, "already-exists"],
  [grpcCode.permissionDenied, "permission-denied"],
  [grpcCode.resourceExhausted, "invalid-argument"],
  [grpcCode.failedPrecondition, "conflict"],
  [grpcCode.aborted, "conflict"],
  [grpcCode.outOfRange, "invalid-argument"],
  [grpcCode.unimplemented, "not-implemented"],
  [grpcCode.unavailable, "unavailable"],
  [grpcCode.dataLoss, "data-loss"],
  [grpcCode.unauthenticated, "unauthorized"],
]);

/** The status that tells a failure; what is no EngineError is told as internal, without its text. */
export function statusOfError(error: unknown): RpcStatus {
  if (!isKind(error)) {
    return { code: grpcCode.internal, message: "internal fault of the engine", details: [] };
  }
  const details = error.details[statusDetailsKey];
  const code = error.details[statusCodeKey];
  return {
    code: typeof code === "number" ? code : codeOfKind[error.kind],
    message: messageOf(error),
    details: Array.isArray(details) ? (details as readonly AnyMessage[]) : [],
  };
}

/** The failure that a status tells; its typed details are under `statusDetailsKey`. */
export function errorOfStatus(status: RpcStatus): EngineError {
  const kind = kindOfCode.get(status.code) ?? "internal";
  const sentence = status.message === "" ? `call ended with status ${status.code}` : status.message;
  return new EngineError(kind, sentence, {
    details: { [statusCodeKey]: status.code, [statusDetailsKey]: status.details },
  });
}

/** The trailers of a call that ended so. */
export function trailersOfStatus(status: RpcStatus): Record<string, string> {
  return {
    "grpc-status": String(status.code),
    ...(status.message === "" ? {} : { "grpc-message": encodeStatusMessage(status.message) }),
    ...(status.details.length === 0
      ? {}
      : { "grpc-status-details-bin": encodeBinary(encodeMessage(rpcStatusType, status)) }),
  };
}

/** Headers of an answer by lower-case name, as node:http2 has them. */
export type IncomingHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** The status in trailers; undefined when they have none. */
export function statusOfTrailers(headers: IncomingHeaders): RpcStatus | undefined {
  const code = headers["grpc-status"];
  if (typeof code !== "string" || !/^\d{1,3}$/.test(code)) return undefined;
  const text = headers["grpc-message"];
  const told = typeof text === "string" ? decodeStatusMessage(text) : "";
  const bytes = headers["grpc-status-details-bin"];
  const details = typeof bytes === "string" ? decodeDetails(bytes) : [];
  return { code: Number(code), message: told, details };
}

/** Percent-encodes what is not printable ASCII. @see gRPC, PROTOCOL-HTTP2.md, Status-Message */
export function encodeStatusMessage(text: string): string {
  let encoded = "";
  for (const byte of Buffer.from(text)) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += isPlain
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}

/** Takes percent-encoding back; what is none stays as it is. */
export function decodeStatusMessage(text: string): string {
  const bytes: number[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const hex =
      text[at] === "%" ? /^[0-9a-fA-F]{2}/.exec(text.slice(at + 1, at + 3))?.[0] : undefined;
    if (hex === undefined) bytes.push(text.charCodeAt(at) & 0xff);
    else {
      bytes.push(Number.parseInt(hex, 16));
      at += 2;
    }
  }
  return Buffer.from(bytes).toString();
}

function encodeBinary(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64").replace(/=+$/, "");
}

function decodeDetails(text: string): readonly AnyMessage[] {
  try {
    return decodeMessage(rpcStatusType, Buffer.from(text, "base64")).details;
  } catch (error) {
    if (isKind(error, "invalid-argument")) return [];
    throw error;
  }
}
