import { describe, expect, test } from "bun:test";
import { parseExposedPorts } from "./_exposed-ports.ts";

describe("parseExposedPorts()", () => {
  test.each([
    [["80"], ["80/tcp"]],
    [
      ["80", "80/tcp"],
      ["80/tcp", "80/tcp"],
    ],
    [
      ["53/udp", "90/SCTP"],
      ["53/udp", "90/sctp"],
    ],
    [["8000-8002/udp"], ["8000/udp", "8001/udp", "8002/udp"]],
    [["8080:80"], ["80/tcp"]],
    [
      ["443", "22"],
      ["22/tcp", "443/tcp"],
    ],
    [["65535"], ["65535/tcp"]],
  ])("reads %p as %p", (words, expected) => {
    expect(parseExposedPorts(words)).toEqual(expected);
  });

  test.each([["x"], ["65536"], ["-1"], ["9-8"], ["80/icmp"], ["80/tcp/x"], [""], ["1-2-3"]])(
    "refuses %p",
    (word) => {
      expect(() => parseExposedPorts([word])).toThrow();
    },
  );
});
