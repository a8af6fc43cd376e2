import { EngineError } from "./errors.ts";

const decimalUnits = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"] as const;
const binaryUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"] as const;
const suffixes = "kmgtp";

/**
 * Reads a size of memory or disk as bytes; every unit is a power of 1024, as in Docker's `--memory`.
 *
 * "64m", "1g", "512", "1.5GiB", "10 kB", in any case.
 *
 * @throws invalid-argument with the sentence of Docker's units.RAMInBytes
 */
export function parseSize(text: string): number {
  const match = /^(.*[\d. ])([^\d. ]*)$/s.exec(text);
  if (match === null) throw refused(`invalid size: '${text}'`);
  const number = (match[1] ?? "").replace(/ $/, "");
  const suffix = match[2] ?? "";
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(number)) {
    throw refused(`strconv.ParseFloat: parsing ${JSON.stringify(number)}: invalid syntax`);
  }
  const value = Number(number);
  if (value < 0) throw refused(`invalid size: '${text}'`);
  const bytes = Math.trunc(value * unitOf(suffix));
  if (!Number.isSafeInteger(bytes)) throw refused(`invalid size: '${text}'`);
  return bytes;
}

/** Renders bytes with decimal units and four significant digits, as Docker's HumanSize: "1.84MB". */
export function formatSize(sizeBytes: number): string {
  return format(sizeBytes, 1000, decimalUnits);
}

/** Renders bytes with binary units and four significant digits, as Docker's BytesSize: "1.5GiB". */
export function formatBytesBinary(sizeBytes: number): string {
  return format(sizeBytes, 1024, binaryUnits);
}

function unitOf(suffix: string): number {
  const unit = suffix.toLowerCase();
  if (unit === "" || unit === "b") return 1;
  const power = suffixes.indexOf(unit.charAt(0));
  const known = power >= 0 && ["", "b", "ib"].includes(unit.slice(1));
  if (!known) throw refused(`invalid suffix: '${unit}'`);
  return 1024 ** (power + 1);
}

function format(sizeBytes: number, base: number, units: readonly string[]): string {
  let value = sizeBytes;
  let index = 0;
  while (value >= base && index < units.length - 1) {
    value /= base;
    index += 1;
  }
  return `${Number(value.toPrecision(4))}${units[index] ?? ""}`;
}

function refused(sentence: string): EngineError {
  return new EngineError("invalid-argument", sentence);
}
