import { EngineError } from "./errors.ts";

/** Nanoseconds since 1970-01-01T00:00:00Z; negative before it. */
export type TimeNs = bigint;

/** Nanoseconds in a second. */
export const secondNs: bigint = 1_000_000_000n;
const milliNs = 1_000_000n;

/** Go's zero time as it travels in JSON: "no such moment". */
export const zeroTime = "0001-01-01T00:00:00Z";
/** `zeroTime` in nanoseconds since 1970. */
export const zeroTimeNs: TimeNs = -62_135_596_800n * secondNs;

/** How far the monotonic clock may stray from the wall clock before `nowNs` follows the latter. */
const driftMaxMs = 5;
/** Go's time.Duration is a signed 64-bit count of nanoseconds. */
const durationMaxNs = 2n ** 63n - 1n;

const durationUnits: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  μs: 1_000n,
  ms: milliNs,
  s: secondNs,
  m: 60n * secondNs,
  h: 3_600n * secondNs,
};

let wallMinusMonotonicNs: bigint | undefined;

/** Now, finer than a millisecond; follows steps of the wall clock. */
export function nowNs(): TimeNs {
  const wallMs = Date.now();
  const monotonicNs = process.hrtime.bigint();
  if (wallMinusMonotonicNs !== undefined) {
    const ns = monotonicNs + wallMinusMonotonicNs;
    if (Math.abs(Number(ns / milliNs) - wallMs) <= driftMaxMs) return ns;
  }
  wallMinusMonotonicNs = BigInt(wallMs) * milliNs - monotonicNs;
  return monotonicNs + wallMinusMonotonicNs;
}

/** Renders a moment as Go's RFC3339Nano in UTC: no trailing zeros, no point without a fraction. */
export function formatTime(time: TimeNs | Date): string {
  const [seconds, fraction] = split(time);
  const digits = fraction.replace(/0+$/, "");
  return digits === "" ? `${seconds}Z` : `${seconds}.${digits}Z`;
}

/** Renders a moment with all nine digits, so that texts sort as the moments do. */
export function formatTimePadded(time: TimeNs | Date): string {
  const [seconds, fraction] = split(time);
  return `${seconds}.${fraction}Z`;
}

/**
 * Reads a moment in any form that Docker's `since` and `until` take.
 *
 * Unix seconds with up to nine decimals; RFC 3339 down to "2006-01-02", in local time when no zone
 * is named; a Go duration, meaning that long before `options.nowNs`.
 *
 * @throws invalid-argument with Docker's sentence
 */
export function parseTime(text: string, options: { readonly nowNs?: TimeNs } = {}): TimeNs {
  const unix = /^(-?)(\d{1,12})(?:\.(\d{0,9}))?$/.exec(text);
  if (unix !== null) {
    const ns = BigInt(unix[2] ?? "0") * secondNs + fractionNs(unix[3]);
    return unix[1] === "-" ? -ns : ns;
  }
  const dated = parseDated(text);
  if (dated !== undefined) return dated;
  const duration = findDuration(text);
  if (duration !== undefined) return (options.nowNs ?? nowNs()) - duration;
  throw new EngineError(
    "invalid-argument",
    `failed to parse value as time or duration: ${JSON.stringify(text)}`,
  );
}

/**
 * Reads a Go duration ("1h2m3.5s", "-10ms", "0") as nanoseconds.
 *
 * @throws invalid-argument with the sentence of Go's time.ParseDuration
 */
export function parseDuration(text: string): bigint {
  const ns = findDuration(text);
  if (ns !== undefined) return ns;
  const bare = /^[+-]?(\d+\.?\d*|\.\d+)$/.test(text);
  throw new EngineError(
    "invalid-argument",
    `time: ${bare ? "missing unit in" : "invalid"} duration ${JSON.stringify(text)}`,
  );
}

/** Renders nanoseconds as Go prints a duration: "1h2m3.5s", "1.5ms", "0s". */
export function formatDuration(durationNs: bigint | number): string {
  const ns = BigInt(durationNs);
  if (ns < 0n) return `-${formatDuration(-ns)}`;
  if (ns === 0n) return "0s";
  if (ns < 1_000n) return `${ns}ns`;
  if (ns < milliNs) return `${decimal(ns, 1_000n)}µs`;
  if (ns < secondNs) return `${decimal(ns, milliNs)}ms`;
  const minutes = ns / (60n * secondNs);
  const seconds = `${decimal(ns % (60n * secondNs), secondNs)}s`;
  if (minutes === 0n) return seconds;
  if (minutes < 60n) return `${minutes}m${seconds}`;
  return `${minutes / 60n}h${minutes % 60n}m${seconds}`;
}

function split(time: TimeNs | Date): [seconds: string, fraction: string] {
  const ns = typeof time === "bigint" ? time : BigInt(time.getTime()) * milliNs;
  const fraction = ((ns % secondNs) + secondNs) % secondNs;
  const date = new Date(Number((ns - fraction) / milliNs));
  if (Number.isNaN(date.getTime())) return split(zeroTimeNs);
  // Years beyond 9999 are printed by Go without sign and padding.
  const seconds = date
    .toISOString()
    .replace(/\.\d+Z$/, "")
    .replace(/^\+0*/, "");
  return [seconds, fraction.toString().padStart(9, "0")];
}

function fractionNs(digits: string | undefined): bigint {
  return BigInt((digits ?? "").slice(0, 9).padEnd(9, "0"));
}

const datedForm =
  /^(\d{4})-(\d\d)-(\d\d)(?:[Tt](\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d+))?)?)?)?([Zz]|[+-]\d\d:\d\d)?$/;

function parseDated(text: string): TimeNs | undefined {
  const match = datedForm.exec(text);
  if (match === null) return undefined;
  const part = (index: number): number => Number(match[index] ?? "0");
  const [year, month, day, hour, minute, second] = [1, 2, 3, 4, 5, 6].map(part);
  const fields = [
    year ?? 0,
    (month ?? 0) - 1,
    day ?? 0,
    hour ?? 0,
    minute ?? 0,
    second ?? 0,
  ] as const;
  const utc = new Date(0);
  utc.setUTCFullYear(fields[0], fields[1], fields[2]);
  utc.setUTCHours(fields[3], fields[4], fields[5]);
  // A field out of its range (month 13, 31 June, hour 25) moves a date instead of being refused.
  const wanted = `${match[1]}-${match[2]}-${match[3]}T${pad(fields[3])}:${pad(fields[4])}:${pad(fields[5])}`;
  if (utc.toISOString().slice(0, 19) !== wanted) return undefined;
  const zone = match[8];
  const ms = zone === undefined ? localMs(fields) : utc.getTime() - zoneOffsetMs(zone);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * milliNs + fractionNs(match[7]);
}

type DateFields = readonly [number, number, number, number, number, number];

function localMs([year, month, day, hour, minute, second]: DateFields): number {
  const date = new Date(2000, 0, 1);
  date.setFullYear(year, month, day);
  date.setHours(hour, minute, second, 0);
  return date.getTime();
}

function zoneOffsetMs(zone: string): number {
  if (zone === "Z" || zone === "z") return 0;
  const [hours, minutes] = [Number(zone.slice(1, 3)), Number(zone.slice(4, 6))];
  if (hours > 24 || minutes > 59) return Number.NaN;
  return (zone.startsWith("-") ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

function findDuration(text: string): bigint | undefined {
  const whole = /^([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|0)$/.exec(text);
  if (whole === null || text.length > 128) return undefined;
  let ns = 0n;
  for (const [, number = "", unit = ""] of (whole[2] ?? "").matchAll(/([\d.]+)([a-zµμ]+)/g)) {
    const [integer = "", fraction = ""] = number.split(".");
    const size = durationUnits[unit] ?? 0n;
    ns += BigInt(integer === "" ? "0" : integer) * size;
    if (fraction !== "") ns += (BigInt(fraction) * size) / 10n ** BigInt(fraction.length);
  }
  if (ns > durationMaxNs) return undefined;
  return whole[1] === "-" ? -ns : ns;
}

function decimal(value: bigint, unit: bigint): string {
  const digits = (value % unit).toString().padStart(unit.toString().length - 1, "0");
  const fraction = digits.replace(/0+$/, "");
  return fraction === "" ? `${value / unit}` : `${value / unit}.${fraction}`;
}

function pad(value: number): string {
  return value.toString().padStart(2, "0");
}
