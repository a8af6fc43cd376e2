/** `-p` and `--expose`: ports, ranges of ports, addresses before them. */
import type { PortBinding, StringSet } from "../../api/container-config.ts";
import { fault } from "./fault.ts";
import { splitCsv } from "./mount.ts";

/** Ports as a create request has them. */
export interface PortRequest {
  readonly exposed: StringSet;
  readonly bindings: Readonly<Record<string, readonly PortBinding[]>>;
}

interface Range {
  readonly start: number;
  readonly end: number;
}

/** Reads all `-p` and `--expose`. @throws invalid-argument with Docker's sentence */
export function parsePorts(publish: readonly string[], expose: readonly string[]): PortRequest {
  const exposed: Record<string, Record<never, never>> = {};
  const bindings: Record<string, PortBinding[]> = {};
  for (const text of publish) {
    for (const { port, binding } of parsePublish(longToShort(text))) {
      exposed[port] = {};
      bindings[port] = [...(bindings[port] ?? []), binding];
    }
  }
  for (const text of expose) for (const port of parseExpose(text)) exposed[port] = {};
  return { exposed, bindings };
}

/** `target=80,published=8080,protocol=udp` as the short form. */
function longToShort(text: string): string {
  if (!text.includes("=")) return text;
  const values = new Map<string, string>();
  for (const field of splitCsv(text)) {
    const split = field.indexOf("=");
    if (split < 0) throw fault(`invalid field: ${field}`);
    const key = field.slice(0, split).toLowerCase();
    if (!["target", "published", "protocol", "mode", "app_protocol"].includes(key)) {
      throw fault(`invalid field key ${key}`);
    }
    values.set(key, field.slice(split + 1).toLowerCase());
  }
  const target = values.get("target") ?? "";
  if (target === "") throw fault('missing mandatory field "target"');
  const published = values.get("published");
  const ports = published === undefined ? target : `${published}:${target}`;
  return `${ports}/${values.get("protocol") ?? "tcp"}`;
}

function parsePublish(
  text: string,
): readonly { readonly port: string; readonly binding: PortBinding }[] {
  const { ip, host, container, protocol } = splitPublish(text);
  if (ip !== "" && !isAddress(ip)) throw fault(`invalid IP address: ${ip}`);
  if (container === "") throw fault(`no port specified: ${text}<empty>`);
  const own = readRange(container, "containerPort");
  const outer = host === "" ? undefined : readRange(host, "hostPort");
  if (!["tcp", "udp", "sctp"].includes(protocol)) throw fault(`invalid proto: ${protocol}`);
  const count = own.end - own.start;
  if (outer !== undefined && outer.end - outer.start !== count && count !== 0) {
    throw fault(`invalid ranges specified for container and host Ports: ${container} and ${host}`);
  }
  return Array.from({ length: count + 1 }, (_, at) => {
    let hostPort = "";
    // A range for one port lets the engine choose in it.
    if (outer !== undefined) {
      const isChoice = count === 0 && outer.start !== outer.end;
      hostPort = isChoice ? `${outer.start}-${outer.end}` : String(outer.start + at);
    }
    return { port: `${own.start + at}/${protocol}`, binding: { HostIp: ip, HostPort: hostPort } };
  });
}

function splitPublish(text: string): {
  readonly ip: string;
  readonly host: string;
  readonly container: string;
  readonly protocol: string;
} {
  const slash = text.lastIndexOf("/");
  const ports = slash < 0 ? text : text.slice(0, slash);
  const protocol = slash < 0 ? "tcp" : text.slice(slash + 1).toLowerCase();
  const parts = ports.split(":");
  const container = parts.pop() ?? "";
  const host = parts.pop() ?? "";
  const ip = parts.join(":").replace(/^\[(.*)\]$/, "$1");
  return { ip, host, container, protocol: protocol === "" ? "tcp" : protocol };
}

function parseExpose(text: string): readonly string[] {
  if (text.includes(":")) throw fault(`invalid port format for --expose: ${text}`);
  const [ports = "", protocol = "tcp"] = text.split("/");
  const refuse = (reason: string): never => {
    throw fault(`invalid range format for --expose: ${text}, error: ${reason}`);
  };
  const [first = "", last = first] = ports.split("-");
  for (const part of [first, last]) {
    if (!/^\d+$/.test(part))
      refuse(`strconv.ParseUint: parsing ${JSON.stringify(part)}: invalid syntax`);
    if (Number(part) > 65_535)
      refuse(`strconv.ParseUint: parsing ${JSON.stringify(part)}: value out of range`);
  }
  const [start, end] = [Number(first), Number(last)];
  if (end < start) refuse(`invalid range specified for port: ${ports}`);
  return Array.from(
    { length: end - start + 1 },
    (_, at) => `${start + at}/${protocol.toLowerCase()}`,
  );
}

function readRange(text: string, what: string): Range {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const start = Number(match?.[1]);
  const end = Number(match?.[2] ?? match?.[1]);
  if (match === null || start > 65_535 || end > 65_535 || end < start) {
    throw fault(`invalid ${what}: ${text}`);
  }
  return { start, end };
}

/** Tells whether text is an IP address. */
export function isAddress(text: string): boolean {
  if (/^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/.test(text)) return true;
  if (!text.includes(":") || !/^[0-9a-fA-F:.]+$/.test(text)) return false;
  return URL.canParse(`http://[${text}]/`);
}
