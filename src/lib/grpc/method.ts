/** Methods of services, as both sides name them. */
import type { MessageType } from "../protobuf.ts";

/** One method of a service. */
export interface GrpcMethod<Request, Response> {
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly request: MessageType<Request>;
  readonly response: MessageType<Response>;
}

/** Names a method. */
export function grpcMethod<Request, Response>(
  path: string,
  types: { readonly request: MessageType<Request>; readonly response: MessageType<Response> },
): GrpcMethod<Request, Response> {
  return { path, ...types };
}
