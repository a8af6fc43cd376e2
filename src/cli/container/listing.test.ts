import { describe, expect, test } from "bun:test";
import type { ContainerSummary } from "../../api/container.ts";
import { renderList } from "../format/listing.ts";
import { containerListing, formatPorts } from "./listing.ts";

const tcp = (own: number, host?: number, ip = "0.0.0.0"): ContainerSummary["Ports"][number] =>
  host === undefined
    ? { PrivatePort: own, Type: "tcp" }
    : { IP: ip, PrivatePort: own, PublicPort: host, Type: "tcp" };

describe("formatPorts()", () => {
  test.each([
    [[], ""],
    [[tcp(80)], "80/tcp"],
    [[tcp(80, 8080)], "0.0.0.0:8080->80/tcp"],
    [[tcp(80, 8080), tcp(80, 8080, "::")], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"],
    [[tcp(82), tcp(80), tcp(81)], "80-82/tcp"],
    [[tcp(80, 80), tcp(81, 81)], "0.0.0.0:80-81->80-81/tcp"],
    [[tcp(80, 80), tcp(90, 91), tcp(99)], "99/tcp, 0.0.0.0:80->80/tcp, 0.0.0.0:91->90/tcp"],
    [[{ PrivatePort: 53, Type: "udp" } as const, tcp(53)], "53/tcp, 53/udp"],
  ])("%j", (ports, text) => {
    const parts = (value: string): readonly string[] => value.split(", ").sort();
    expect(parts(formatPorts(ports))).toEqual(parts(text));
  });
});

const item: ContainerSummary = {
  Id: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
  Names: ["/web", "/other/link"],
  Image: "busybox:1",
  ImageID: "sha256:ffff",
  Command: 'sh -c "echo \u001b[31m and more and more"',
  Created: 1_700_000_000,
  Ports: [],
  Labels: { b: "2", a: "1" },
  State: "running",
  Status: "Up 2 hours",
  HostConfig: { NetworkMode: "bridge" },
  NetworkSettings: { Networks: {} },
  Mounts: [],
};
const list = (format: string, isQuiet = false): Promise<string> =>
  renderList([item], containerListing({ isTruncated: true, showsSize: false }), {
    format,
    isQuiet,
    output: { isTerminal: true },
  });

describe("renderList()", () => {
  test("prints Docker's columns, and no control characters", async () => {
    const [head = "", row = ""] = (await list("")).split("\n");
    expect(head.replace(/ {2,}/g, "  ")).toBe(
      "CONTAINER ID  IMAGE  COMMAND  CREATED  STATUS  PORTS  NAMES",
    );
    expect(row).toStartWith('0123456789ab   busybox:1   "sh -c \\"echo \\x1b[31m');
    expect(row).not.toContain("\u001b");
    expect(row).toEndWith("web");
  });
  test("prints ids alone with -q", async () => {
    expect(await list("", true)).toBe("0123456789ab\n");
  });
  test("prints one JSON object a row, keys sorted", async () => {
    const keys = Object.keys(JSON.parse(await list("json")) as object);
    expect(keys).toEqual([...keys].sort());
    expect(keys).toContain("RunningFor");
    expect(keys).not.toContain("Label");
  });
  test("heads the columns of a table template", async () => {
    expect(await list("table {{.Names}}\\t{{.State}}")).toBe(
      "NAMES     STATE\nweb       running\n",
    );
  });
  test("calls the Label method and joins labels", async () => {
    expect(await list('{{.Label "b"}} {{.Label "none"}}|{{.Labels}}')).toBe("2 |a=1,b=2\n");
  });
  test("refuses fields that are not there and templates that do not parse", async () => {
    await expect(list("{{.Foo}}")).rejects.toThrow(
      'failed to execute template: template: :1:2: executing "" at <.Foo>: ' +
        "can't evaluate field Foo in type *formatter.ContainerContext",
    );
    await expect(list("{{")).rejects.toThrow(
      "failed to parse template: template: :1: unclosed action",
    );
  });
});
