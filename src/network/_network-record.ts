import { EngineError } from "../lib/errors.ts";
import type { TableDefinition } from "../metadata/metadata.ts";

/** What is kept of a network. */
export interface NetworkRecord {
  readonly id: string;
  readonly name: string;
  readonly driver: string;
  /** RFC 3339 with nanoseconds. */
  readonly created: string;
  /** As `172.17.0.1/16`: the gateway within its block. */
  readonly bridgeAddress?: string;
  /** The boot in which the engine turned on forwarding on this host. */
  readonly forwardingBootId?: string;
}

/** Networks by ID. */
export const networkTable: TableDefinition<NetworkRecord> = {
  name: "networks",
  decode: decodeNetworkRecord,
};

function decodeNetworkRecord(document: unknown): NetworkRecord {
  if (typeof document !== "object" || document === null) throw damaged("not an object");
  const record: Record<string, unknown> = { ...document };
  const bridgeAddress = record["bridgeAddress"];
  const forwardingBootId = record["forwardingBootId"];
  return {
    id: text(record, "id"),
    name: text(record, "name"),
    driver: text(record, "driver"),
    created: text(record, "created"),
    ...(bridgeAddress === undefined ? {} : { bridgeAddress: text(record, "bridgeAddress") }),
    ...(forwardingBootId === undefined
      ? {}
      : { forwardingBootId: text(record, "forwardingBootId") }),
  };
}

function text(record: Readonly<Record<string, unknown>>, field: string): string {
  const value = record[field];
  if (typeof value !== "string" || value === "") throw damaged(`${field} is missing`);
  return value;
}

function damaged(reason: string): EngineError {
  return new EngineError("data-loss", `stored network: ${reason}`);
}
