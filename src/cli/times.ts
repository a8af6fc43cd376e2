/** Moments as the API takes them. */
import { parseTime } from "../lib/time.ts";

const secondNs = 1_000_000_000n;

/** A moment or a span as people write it, as seconds since 1970 with nine decimals; "" stays. */
export function engineTime(text: string): string {
  if (text === "") return "";
  const ns = parseTime(text);
  const absolute = ns < 0n ? -ns : ns;
  const fraction = (absolute % secondNs).toString().padStart(9, "0");
  return `${ns < 0n ? "-" : ""}${absolute / secondNs}.${fraction}`;
}
