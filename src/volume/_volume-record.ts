import { EngineError } from "../lib/errors.ts";
import type { TableDefinition } from "../metadata/metadata.ts";

/** What is kept of a volume. */
export interface VolumeRecord {
  readonly name: string;
  /** RFC 3339, seconds. */
  readonly createdAt: string;
  readonly labels: Readonly<Record<string, string>> | null;
  readonly options: Readonly<Record<string, string>> | null;
  /** Its directory is being removed; nobody sees it any more. */
  readonly isRemoving?: boolean;
}

/** Volumes by name. */
export const volumeTable: TableDefinition<VolumeRecord> = {
  name: "volumes",
  decode: decodeVolumeRecord,
};

function decodeVolumeRecord(document: unknown): VolumeRecord {
  if (typeof document !== "object" || document === null) throw damaged("not an object");
  const record: Record<string, unknown> = { ...document };
  const { name, createdAt } = record;
  if (typeof name !== "string" || !isVolumeName(name)) throw damaged("name is missing");
  if (typeof createdAt !== "string") throw damaged("createdAt is missing");
  return {
    name,
    createdAt,
    labels: decodeStrings(record["labels"], "labels"),
    options: decodeStrings(record["options"], "options"),
    ...(record["isRemoving"] === true ? { isRemoving: true } : {}),
  };
}

/** Decodes a map of strings. @throws data-loss when it is something else */
export function decodeStrings(
  value: unknown,
  field: string,
): Readonly<Record<string, string>> | null {
  if (value === undefined || value === null) return null;
  if (typeof value !== "object" || Array.isArray(value)) throw damaged(`${field} is no map`);
  const entries = Object.entries(value);
  if (entries.some(([, item]) => typeof item !== "string")) throw damaged(`${field} is no map`);
  return Object.fromEntries(entries);
}

/** Tells whether a name may be a volume's, and a directory's. */
export function isVolumeName(name: string): boolean {
  return /^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$/.test(name);
}

function damaged(reason: string): EngineError {
  return new EngineError("data-loss", `stored volume: ${reason}`);
}
