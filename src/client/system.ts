/** Operations on the engine itself. */
import type { AuthConfig } from "../api/image.ts";
import type {
  AuthResponse,
  EventMessage,
  SystemDiskUsage,
  SystemInfo,
  SystemVersion,
} from "../api/system.ts";
import { linesOf } from "./lines.ts";
import { decodeJson, encodeFilters, type Transport } from "./transport.ts";

/** @see Engine API v1.51, SystemVersion */
export function engineVersion(transport: Transport): Promise<SystemVersion> {
  return transport.json("GET /version");
}

/** @see Engine API v1.51, SystemInfo */
export function engineInfo(transport: Transport): Promise<SystemInfo> {
  return transport.json("GET /info");
}

/** @see Engine API v1.51, SystemDataUsage */
export function diskUsage(transport: Transport): Promise<SystemDiskUsage> {
  return transport.json("GET /system/df");
}

/** Has the engine try credentials. @throws unauthorized @see Engine API v1.51, SystemAuth */
export function authenticate(transport: Transport, credentials: AuthConfig): Promise<AuthResponse> {
  return transport.json("POST /auth", { body: credentials });
}

/**
 * The events as they happen; without `until` there is no end.
 *
 * Ends quietly when the signal is given.
 */
export async function* engineEvents(
  transport: Transport,
  options: {
    readonly since?: string;
    readonly until?: string;
    readonly filters?: ReadonlyMap<string, readonly string[]>;
    readonly signal?: AbortSignal;
  } = {},
): AsyncGenerator<EventMessage> {
  const { since, until, filters = new Map(), signal } = options;
  const stream = await transport.stream("GET /events", {
    query: { since, until, filters: encodeFilters(filters) },
    ...(signal === undefined ? {} : { signal }),
  });
  for await (const line of linesOf(stream.bytes())) {
    if (line.trim() === "") continue;
    const event = decodeJson<EventMessage>(line);
    // More digits than a number holds.
    const timeNano = /"timeNano":\s*(\d+)/.exec(line)?.[1];
    yield timeNano === undefined ? event : { ...event, timeNano: BigInt(timeNano) };
  }
}
