/** What a call carries besides its messages. */
import type { IncomingHeaders } from "./status.ts";

/** Values by lower-case key; a key may have several. */
export type Metadata = ReadonlyMap<string, readonly string[]>;

/** Headers that are the protocol's own. */
const protocolHeaders = /^(?::|grpc-|content-type$|te$|user-agent$)/;

/** The caller's metadata in a request's headers; `raw` tells repeated ones apart. */
export function metadataOfHeaders(headers: IncomingHeaders, raw: readonly string[] = []): Metadata {
  const metadata = new Map<string, string[]>();
  if (raw.length > 0) {
    for (let at = 0; at + 1 < raw.length; at += 2) {
      const name = (raw[at] ?? "").toLowerCase();
      if (protocolHeaders.test(name)) continue;
      metadata.set(name, [...(metadata.get(name) ?? []), raw[at + 1] ?? ""]);
    }
    return metadata;
  }
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || protocolHeaders.test(name)) continue;
    metadata.set(name, typeof value === "string" ? [value] : [...value]);
  }
  return metadata;
}

/** Headers of metadata; a value that is not printable ASCII must be encoded before. */
export function headersOfMetadata(metadata: Metadata): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  for (const [name, values] of metadata) {
    const [only] = values;
    headers[name] = values.length === 1 && only !== undefined ? only : [...values];
  }
  return headers;
}

const unitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/** Reads `grpc-timeout`; undefined when there is none or it is none. */
export function parseGrpcTimeout(text: string | undefined): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(text ?? "");
  const unit = unitMs[match?.[2] ?? ""];
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit;
}

/** Writes `grpc-timeout`, in whole milliseconds, rounded up. */
export function formatGrpcTimeout(timeoutMs: number): string {
  const rounded = Math.max(1, Math.ceil(timeoutMs));
  return rounded <= 99_999_999 ? `${rounded}m` : `${Math.ceil(rounded / 1000)}S`;
}
