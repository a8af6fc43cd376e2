import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../../lib/errors.ts";
import {
  formatEmbeddedResolvConf,
  formatHostResolvConf,
  formatResolvConf,
  parseExtraHost,
} from "../../runtime/sandbox/hosts-files.ts";
import type { RunAction } from "../step.ts";
import { stepHostname } from "./_step-spec.ts";

/** The text of a command's /etc/hosts, as BuildKit writes it. */
function hostsText(input: {
  readonly network: "default" | "none" | "host";
  readonly extraHosts: readonly string[];
  /** What `host-gateway` stands for; "" for none. */
  readonly gateway: string;
  /** The machine's own file; for its network alone. */
  readonly hostText: string;
  readonly hostname?: string;
}): string {
  const gateway = input.network === "host" ? "127.0.0.1" : input.gateway;
  const extra = input.extraHosts.map((entry) => {
    const { name, address } = parseExtraHost(entry, gateway === "" ? undefined : gateway);
    return `${address}\t${name}\n`;
  });
  const { hostText } = input;
  const own =
    input.network === "host" && hostText !== ""
      ? `${hostText}${hostText.endsWith("\n") ? "" : "\n"}`
      : `127.0.0.1\tlocalhost ${input.hostname ?? stepHostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n`;
  return `${own}${extra.join("")}`;
}

/** The text of a command's /etc/resolv.conf. */
function resolvConfText(input: {
  readonly network: "default" | "none" | "host";
  /** The machine's own file. */
  readonly hostText: string;
}): string {
  const conf = { hostText: input.hostText, dns: [], dnsSearch: [], dnsOptions: [] };
  if (input.network === "host") return formatHostResolvConf(conf);
  return input.network === "none" ? formatResolvConf(conf) : formatEmbeddedResolvConf(conf);
}

/** Writes a command's files that the image does not decide; tells where they are. */
export function writeEtcFiles(
  run: Pick<RunAction, "network" | "extraHosts" | "hostname">,
  where: { readonly bundle: string; readonly gateway: string },
): { readonly hosts: string; readonly resolvConf: string } {
  const files = {
    hosts: join(where.bundle, "hosts"),
    resolvConf: join(where.bundle, "resolv.conf"),
  };
  const hostFile = (path: string): string => {
    try {
      return readFileSync(path, "utf8");
    } catch (error) {
      if (codeOf(error) === "ENOENT") return "";
      throw error;
    }
  };
  writeFileSync(
    files.hosts,
    hostsText({
      network: run.network,
      extraHosts: run.extraHosts,
      gateway: where.gateway,
      hostText: run.network === "host" ? hostFile("/etc/hosts") : "",
      ...(run.hostname === undefined ? {} : { hostname: run.hostname }),
    }),
  );
  writeFileSync(
    files.resolvConf,
    resolvConfText({ network: run.network, hostText: hostFile("/etc/resolv.conf") }),
  );
  return files;
}
