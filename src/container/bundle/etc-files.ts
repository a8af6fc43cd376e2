import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../../lib/errors.ts";
import type { Endpoint } from "../../network/network-service.ts";
import {
  formatEmbeddedResolvConf,
  formatHostname,
  formatHostResolvConf,
  formatHosts,
  formatResolvConf,
  parseExtraHost,
} from "../../runtime/sandbox/hosts-files.ts";
import type { SpecInput } from "../../runtime/spec/spec-input.ts";
import { type Context, containerFolder } from "../context.ts";
import type { LiveContainer } from "../record/live-container.ts";
import type { ContainerRecord } from "../record/record.ts";

/** Host paths of a container's `hostname`, `hosts` and `resolv.conf`. */
export type EtcFiles = Required<Omit<SpecInput["etcFiles"], "areReadOnly">>;

/** Where a container's files are, written or not. */
export function etcFilesOf(context: Context, id: string): EtcFiles {
  const folder = containerFolder(context, id);
  return {
    hostname: join(folder, "hostname"),
    hosts: join(folder, "hosts"),
    resolvConf: join(folder, "resolv.conf"),
  };
}

/**
 * Writes the files anew, as at every start; not synced, since the next start writes them again.
 *
 * @param lender whose network the container uses: then its files are used too
 */
export function writeEtcFiles(
  context: Context,
  container: LiveContainer,
  network: { readonly endpoint: Endpoint | undefined; readonly lender: LiveContainer | undefined },
): EtcFiles {
  const { record } = container;
  const { endpoint, lender } = network;
  if (lender !== undefined) return etcFilesOf(context, lender.id);
  const files = etcFilesOf(context, record.id);
  writeFileSync(files.hostname, formatHostname(record.config.Hostname));
  writeFileSync(files.hosts, hostsOf(record, endpoint));
  writeFileSync(files.resolvConf, resolvConfOf(record, endpoint));
  return files;
}

function hostsOf(record: ContainerRecord, endpoint: Endpoint | undefined): string {
  const { config, hostConfig } = record;
  const extra = hostConfig.ExtraHosts ?? [];
  if (hostConfig.NetworkMode === "host") {
    const own = readOptional("/etc/hosts");
    const lines = extra.map((entry) => {
      const { name, address } = parseExtraHost(entry, "127.0.0.1");
      return `${address}\t${name}\n`;
    });
    return `${own}${own === "" || own.endsWith("\n") ? "" : "\n"}${lines.join("")}`;
  }
  const { Hostname: hostname, Domainname: domain } = config;
  const names = domain === "" ? [hostname] : [`${hostname}.${domain}`, hostname];
  const address = endpoint?.ipAddress ?? "";
  return formatHosts({
    own: address === "" ? [] : [{ address, names }],
    extra,
    ...(endpoint === undefined || endpoint.gateway === "" ? {} : { hostGateway: endpoint.gateway }),
  });
}

function resolvConfOf(record: ContainerRecord, endpoint: Endpoint | undefined): string {
  const { NetworkMode, Dns, DnsSearch, DnsOptions } = record.hostConfig;
  const input = {
    hostText: readOptional("/etc/resolv.conf"),
    dns: Dns ?? [],
    dnsSearch: DnsSearch ?? [],
    dnsOptions: DnsOptions ?? [],
  };
  if (NetworkMode === "host") return formatHostResolvConf(input);
  const isConnected = endpoint !== undefined && endpoint.ipAddress !== "";
  return isConnected ? formatEmbeddedResolvConf(input) : formatResolvConf(input);
}

function readOptional(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "";
    throw error;
  }
}
