/** Times, sizes, ids and names as people read them. */

const units = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"] as const;
const secondMs = 1000;

/** Bytes with decimal units and three digits: "1.98MB", as lists print them. */
export function listSize(sizeBytes: number): string {
  let value = sizeBytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${Number(value.toPrecision(3))}${units[unit] ?? ""}`;
}

/** A span of time in one unit: "About a minute", "3 weeks". @see docker/go-units, HumanDuration */
export function humanDuration(durationMs: number): string {
  const seconds = Math.trunc(durationMs / secondMs);
  if (seconds < 1) return "Less than a second";
  if (seconds === 1) return "1 second";
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.trunc(durationMs / 3_600_000 + 0.5);
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(durationMs / 3_600_000 / 24 / 365)} years`;
}

/** How long ago a moment in seconds since 1970 was: "2 hours ago". */
export function since(unixSeconds: number): string {
  return `${humanDuration(Date.now() - unixSeconds * secondMs)} ago`;
}

/** A moment as Go prints a time: "2025-08-01 12:00:00 +0000 UTC". */
export function goTime(unixSeconds: number): string {
  const date = new Date(unixSeconds * secondMs);
  const offset = -date.getTimezoneOffset();
  const local = new Date(date.getTime() + offset * 60_000).toISOString();
  const minutes = Math.abs(offset);
  const hour = String(Math.trunc(minutes / 60)).padStart(2, "0");
  const zone = `${offset < 0 ? "-" : "+"}${hour}${String(minutes % 60).padStart(2, "0")}`;
  return `${local.slice(0, 10)} ${local.slice(11, 19)} ${zone} ${zoneName(date, zone)}`;
}

/** A moment as RFC 3339 in local time: "2025-08-01T12:00:00Z". */
export function localRfc3339(unixSeconds: number): string {
  const [day = "", time = "", zone = ""] = goTime(unixSeconds).split(" ");
  const colon = zone === "+0000" ? "Z" : `${zone.slice(0, 3)}:${zone.slice(3)}`;
  return `${day}T${time}${colon}`;
}

/** The first twelve digits of an id, without its algorithm. */
export function shortId(id: string): string {
  const colon = id.indexOf(":");
  return (colon < 0 ? id : id.slice(colon + 1)).slice(0, 12);
}

function zoneName(date: Date, offset: string): string {
  if (offset === "+0000") return "UTC";
  const name = /[A-Z]{2,5}$/.exec(date.toLocaleTimeString("en-US", { timeZoneName: "short" }))?.[0];
  return name ?? offset;
}
