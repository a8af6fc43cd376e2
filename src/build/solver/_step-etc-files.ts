import {
  formatEmbeddedResolvConf,
  formatHostResolvConf,
  formatResolvConf,
  parseExtraHost,
} from "../../runtime/sandbox/hosts-files.ts";
import { stepHostname } from "./_step-spec.ts";

/** The text of a command's /etc/hosts, as BuildKit writes it. */
export function hostsText(input: {
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
export function resolvConfText(input: {
  readonly network: "default" | "none" | "host";
  /** The machine's own file. */
  readonly hostText: string;
}): string {
  const conf = { hostText: input.hostText, dns: [], dnsSearch: [], dnsOptions: [] };
  if (input.network === "host") return formatHostResolvConf(conf);
  return input.network === "none" ? formatResolvConf(conf) : formatEmbeddedResolvConf(conf);
}
