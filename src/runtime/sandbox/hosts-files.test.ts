import { describe, expect, test } from "bun:test";
import {
  formatEmbeddedResolvConf,
  formatHostname,
  formatHostResolvConf,
  formatHosts,
  formatResolvConf,
  parseExtraHost,
  parseResolvConf,
  upstreamServers,
} from "./hosts-files.ts";

const asked = { dns: [], dnsSearch: [], dnsOptions: [] };
const hostText = `# a comment
domain old.example
search a.example b.example # trailing
nameserver 127.0.0.53
nameserver 10.0.0.1
nameserver fe80::1%eth0
nameserver not-an-address
options edns0 trust-ad
odd line
`;

test("formatHosts() has Docker's lines", () => {
  const text = formatHosts({
    own: [{ address: "172.17.0.3", names: ["web.ex.com", "web"] }],
    extra: ["foo:1.2.3.4", "x=::1"],
  });
  expect(text).toBe(`127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
1.2.3.4\tfoo
::1\tx
172.17.0.3\tweb.ex.com web
`);
});

describe("parseExtraHost()", () => {
  const rows: readonly (readonly [string, string, string])[] = [
    ["a:1.2.3.4", "a", "1.2.3.4"],
    ["a=1.2.3.4", "a", "1.2.3.4"],
    ["a:fe80::1", "a", "fe80::1"],
    ["a:[::1]", "a", "::1"],
    ["a:host-gateway", "a", "172.17.0.1"],
  ];
  for (const [entry, name, address] of rows) {
    test(entry, () => expect(parseExtraHost(entry, "172.17.0.1")).toEqual({ name, address }));
  }
  for (const entry of [
    "a",
    "a:",
    ":1.2.3.4",
    "a:b",
    "a b:1.2.3.4",
    "a\n:1.2.3.4",
    "a:1.2.3.4\nx",
  ]) {
    test(`refuses ${JSON.stringify(entry)}`, () => expect(() => parseExtraHost(entry)).toThrow());
  }
  test("refuses host-gateway without a gateway", () => {
    expect(() => parseExtraHost("a:host-gateway")).toThrow("unable to derive the IP value");
  });
});

describe("resolv.conf", () => {
  test("is read line by line", () => {
    expect(parseResolvConf(hostText)).toEqual({
      servers: ["127.0.0.53", "10.0.0.1", "fe80::1%eth0"],
      search: ["a.example", "b.example"],
      options: ["edns0", "trust-ad"],
    });
  });

  test("leaves out servers of the host's loopback", () => {
    expect(formatResolvConf({ ...asked, hostText })).toBe(
      "nameserver 10.0.0.1\nnameserver fe80::1%eth0\nsearch a.example b.example\noptions edns0 trust-ad\n",
    );
  });

  test("takes public servers where the host has none to reach", () => {
    const none = { ...asked, hostText: "nameserver 127.0.0.1\nnameserver ::1\n" };
    expect(upstreamServers(none)).toEqual(["8.8.8.8", "8.8.4.4"]);
    expect(upstreamServers({ ...none, dns: ["127.0.0.1"] })).toEqual(["127.0.0.1"]);
  });

  test("names the embedded server, with dots of its own choice or the asked ones", () => {
    expect(formatEmbeddedResolvConf({ ...asked, hostText: "" })).toBe(
      "nameserver 127.0.0.11\noptions ndots:0\n",
    );
    const input = { dns: ["1.2.3.4"], dnsSearch: ["x.y"], dnsOptions: ["ndots:2"], hostText };
    expect(formatEmbeddedResolvConf(input)).toBe(
      "nameserver 127.0.0.11\nsearch x.y\noptions ndots:2\n",
    );
  });

  test("drops the host's search for a dot", () => {
    const text = formatResolvConf({ ...asked, dnsSearch: ["."], dns: ["1.2.3.4"], hostText });
    expect(text).toBe("nameserver 1.2.3.4\noptions edns0 trust-ad\n");
  });

  test("is the host's own in its network, until something is asked", () => {
    expect(formatHostResolvConf({ ...asked, hostText })).toBe(hostText);
    expect(formatHostResolvConf({ ...asked, dns: ["9.9.9.9"], hostText: "" })).toBe(
      "nameserver 9.9.9.9\n",
    );
  });

  test("refuses lines within a line", () => {
    const input = { ...asked, dnsOptions: ["a\nnameserver 6.6.6.6"], hostText: "" };
    expect(() => formatResolvConf(input)).toThrow("is no line");
  });
});

test("formatHostname() ends its line", () => expect(formatHostname("a")).toBe("a\n"));
