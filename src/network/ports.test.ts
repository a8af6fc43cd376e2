import { describe, expect, test } from "bun:test";
import type { PortMap } from "../api/container-config.ts";
import { isKind } from "../lib/errors.ts";
import type { PublishRequest } from "./network-service.ts";
import { formatPorts, parseContainerPort, parsePublishRequests, planPorts } from "./ports.ts";

const short = ({
  protocol,
  hostIp,
  hostPortFirst,
  hostPortLast,
  containerPort,
}: PublishRequest): string =>
  `${hostIp}|${hostPortFirst}-${hostPortLast}|${containerPort}/${protocol}`;
const parse = (portBindings: PortMap): readonly string[] =>
  parsePublishRequests({ portBindings }).map(short);
const binding = (HostPort: string, HostIp = ""): { HostIp: string; HostPort: string } => ({
  HostIp,
  HostPort,
});

describe("parsePublishRequests()", () => {
  test.each<[PortMap, readonly string[]]>([
    [{}, []],
    [{ "80/tcp": null }, []],
    [{ "80/tcp": [] }, []],
    [{ "80/tcp": [binding("8080")] }, ["|8080-8080|80/tcp"]],
    [{ "80": [binding("")] }, ["|0-0|80/tcp"]],
    [{ "80/TCP": [binding("0")] }, ["|0-0|80/tcp"]],
    [{ "53/udp": [binding("53", "127.0.0.1")] }, ["127.0.0.1|53-53|53/udp"]],
    [{ "80/tcp": [binding("8000-8010")] }, ["|8000-8010|80/tcp"]],
    [{ "80/tcp": [binding("1", "[::1]")] }, ["::1|1-1|80/tcp"]],
    [{ "80/tcp": [binding("1", "0:0::1")] }, ["::1|1-1|80/tcp"]],
    [{ "80/tcp": [binding("1"), binding("2"), binding("1")] }, ["|1-1|80/tcp", "|2-2|80/tcp"]],
    [{ "80-81/tcp": [binding("90-91")] }, ["|90-90|80/tcp", "|91-91|81/tcp"]],
    [{ "80-81/tcp": [binding("")] }, ["|0-0|80/tcp", "|0-0|81/tcp"]],
    [
      { "80/tcp": [binding("1", "127.0.0.1"), binding("1", "10.0.0.1"), binding("1", "::1")] },
      ["::1|1-1|80/tcp", "10.0.0.1|1-1|80/tcp", "127.0.0.1|1-1|80/tcp"],
    ],
    [{ "53/udp": [binding("53")], "53/tcp": [binding("53")] }, ["|53-53|53/tcp", "|53-53|53/udp"]],
    [{ "81/tcp": [binding("5-6")], "80/tcp": [binding("5-6")] }, ["|5-6|80/tcp", "|5-6|81/tcp"]],
    [{ "65535/tcp": [binding("65535")] }, ["|65535-65535|65535/tcp"]],
  ])("reads %j", (portBindings, expected) => {
    expect([...parse(portBindings)].sort()).toEqual([...expected].sort());
  });

  test.each<[PortMap, string]>([
    [{ "80x/tcp": [] }, 'invalid port specification: "80x"'],
    [{ "": [] }, 'invalid port specification: ""'],
    [{ "/tcp": [] }, 'invalid port specification: ""'],
    [{ "0/tcp": [] }, 'invalid port specification: "0"'],
    [{ "99999/tcp": [] }, 'invalid port specification: "99999"'],
    [{ "81-80/tcp": [] }, 'invalid port specification: "81-80"'],
    [{ "80/foo": [] }, "invalid proto: foo"],
    [{ "80/tcp/udp": [] }, "invalid proto: tcp/udp"],
    [{ "80/tcp": [binding("99999")] }, 'invalid port specification: "99999"'],
    [{ "80/tcp": [binding("abc")] }, 'invalid port specification: "abc"'],
    [{ "80/tcp": [binding("90-80")] }, 'invalid port specification: "90-80"'],
    [{ "80/tcp": [binding("-1")] }, 'invalid port specification: "-1"'],
    [{ "80/tcp": [binding("8000-8000-9")] }, 'invalid port specification: "8000-8000-9"'],
    [{ "80/tcp": [binding("80", "1.2.3")] }, "invalid IP address: 1.2.3"],
    [{ "80/tcp": [binding("80", "fe80::1%eth0")] }, "invalid IP address: fe80::1%eth0"],
    [{ "80/tcp": [binding("80", "localhost")] }, "invalid IP address: localhost"],
    [{ "80-82/tcp": [binding("90-91")] }, "Invalid ranges specified"],
  ])("refuses %j: %s", (portBindings, sentence) => {
    expect(() => parse(portBindings)).toThrow(sentence);
  });

  test.each<[PortMap, string]>([
    [
      { "80/tcp": [binding("1")], "81/tcp": [binding("1")] },
      "Bind for 0.0.0.0:1 failed: port is already allocated",
    ],
    [{ "80/tcp": [binding("1"), binding("1", "127.0.0.1")] }, "port is already allocated"],
    [
      { "80/tcp": [binding("1", "0.0.0.0"), binding("1", "10.0.0.1")] },
      "port is already allocated",
    ],
    [{ "80/tcp": [binding("1", "::1")], "81/tcp": [binding("1", "::1")] }, "Bind for ::1:1 failed"],
  ])("finds the conflict in %j", (portBindings, sentence) => {
    expect(() => parse(portBindings)).toThrow(sentence);
    try {
      parse(portBindings);
    } catch (error) {
      expect(isKind(error, "conflict")).toBe(true);
    }
  });

  test("publishAllPorts adds what is exposed and not yet bound", () => {
    const requests = parsePublishRequests({
      portBindings: { "80/tcp": [binding("8080")] },
      exposedPorts: { "80/tcp": {}, "53/udp": {}, "90-91": {} },
      publishAllPorts: true,
    });
    expect(requests.map(short)).toEqual([
      "|8080-8080|80/tcp",
      "|0-0|90/tcp",
      "|0-0|91/tcp",
      "|0-0|53/udp",
    ]);
    const without = parsePublishRequests({ portBindings: {}, exposedPorts: { "80/tcp": {} } });
    expect(without).toEqual([]);
  });

  test("a flood of ranges is refused before it is held", () => {
    const keys = ["tcp", "udp"].map((protocol) => `1-65535/${protocol}`);
    const portBindings = Object.fromEntries(keys.map((key) => [key, [binding("")]]));
    expect(() => parse(portBindings)).toThrow("at most 65536 for one container");
  });

  test("random text is refused with a kind or read into ports in range (seed 3)", () => {
    const alphabet = "0189-/tcpudx .:[]";
    let seed = 3;
    const letter = (): string => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return alphabet[Math.floor((seed / 2 ** 31) * alphabet.length)] ?? "";
    };
    const text = (length: number): string => Array.from({ length }, letter).join("");
    for (let round = 0; round < 3_000; round += 1) {
      const portBindings = { [text(round % 7)]: [binding(text(round % 5), text(round % 4))] };
      try {
        for (const request of parsePublishRequests({ portBindings })) {
          expect(request.containerPort).toBeWithin(1, 65_536);
          expect(request.hostPortLast).toBeWithin(request.hostPortFirst, 65_536);
        }
      } catch (error) {
        expect(isKind(error, "invalid-argument", "not-implemented", "conflict")).toBe(true);
      }
    }
  });
});

test("planPorts() binds both families for an empty host IP, as one group", () => {
  const requests = parsePublishRequests({
    portBindings: { "80/tcp": [binding("")], "81/tcp": [binding("5", "127.0.0.1")] },
  });
  const plan = planPorts(requests);
  expect(plan.map(({ hostIp, group }) => [hostIp, group])).toEqual([
    ["0.0.0.0", 0],
    ["::", 0],
    ["127.0.0.1", 1],
  ]);
});

test("formatPorts() shows bindings in order and exposed ports as null", () => {
  const ports = formatPorts(
    [
      { protocol: "tcp", hostIp: "0.0.0.0", hostPort: 8080, containerPort: 80 },
      { protocol: "tcp", hostIp: "::", hostPort: 8080, containerPort: 80 },
      { protocol: "udp", hostIp: "127.0.0.1", hostPort: 53, containerPort: 53 },
    ],
    ["99", "80/tcp"],
  );
  expect(ports).toEqual({
    "53/udp": [{ HostIp: "127.0.0.1", HostPort: "53" }],
    "80/tcp": [
      { HostIp: "0.0.0.0", HostPort: "8080" },
      { HostIp: "::", HostPort: "8080" },
    ],
    "99/tcp": null,
  });
  expect(Object.keys(ports)).toEqual(["53/udp", "80/tcp", "99/tcp"]);
});

test("parseContainerPort() reads one port, not a range", () => {
  expect(parseContainerPort("53/udp")).toEqual({ protocol: "udp", port: 53 });
  expect(() => parseContainerPort("53-54/udp")).toThrow('invalid port specification: "53-54"');
  expect(() => parseContainerPort("80/sctp")).toThrow("sctp ports is not implemented");
});
