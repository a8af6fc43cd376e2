import { describe, expect, test } from "bun:test";
import { formatIpv4, formatSubnet, overlaps, parseCidr, parseIpv4 } from "./cidr.ts";
import { AddressPool, chooseSubnet } from "./ipam.ts";

const poolOf = (cidr: string): AddressPool => {
  const { address, subnet } = parseCidr(cidr);
  return new AddressPool({ subnet, gateway: address, owner: "bridge (abc)" });
};
const subnet = (text: string): ReturnType<typeof parseCidr>["subnet"] => parseCidr(text).subnet;

describe("CIDR", () => {
  test.each([
    ["172.17.0.1/16", "172.17.0.0/16"],
    ["10.255.255.255/8", "10.0.0.0/8"],
    ["255.255.255.255/32", "255.255.255.255/32"],
    ["192.168.16.9/20", "192.168.16.0/20"],
    ["0.0.0.0/0", "0.0.0.0/0"],
  ])("%s lies in %s", (text, block) => {
    const parsed = parseCidr(text);
    expect(formatSubnet(parsed.subnet)).toBe(block);
    expect(`${formatIpv4(parsed.address)}/${parsed.subnet.prefixLength}`).toBe(text);
  });

  test.each([
    "",
    "172.17.0.1",
    "172.17.0.1/33",
    "172.17.0/16",
    "256.0.0.1/8",
    "::1/64",
    "1.2.3.4/-1",
    "1.2.3.4/8 ",
  ])("%p is refused", (text) => {
    expect(() => parseCidr(text)).toThrow(`invalid CIDR address: ${text}`);
  });

  test.each([
    ["172.17.0.0/16", "172.17.4.0/24", true],
    ["172.17.4.0/24", "172.17.0.0/16", true],
    ["172.17.0.0/16", "172.18.0.0/16", false],
    ["0.0.0.0/0", "10.0.0.0/8", true],
    ["10.0.0.0/32", "10.0.0.1/32", false],
  ])("%s and %s share an address: %p", (one, other, expected) => {
    expect(overlaps(subnet(one), subnet(other))).toBe(expected);
  });
});

describe("AddressPool", () => {
  test("gives rising addresses behind the gateway and starts over only at the end", () => {
    const pool = poolOf("10.0.0.1/29");
    expect([pool.allocate(), pool.allocate()]).toEqual(["10.0.0.2", "10.0.0.3"]);
    pool.release("10.0.0.2");
    expect([pool.allocate(), pool.allocate(), pool.allocate()]).toEqual([
      "10.0.0.4",
      "10.0.0.5",
      "10.0.0.6",
    ]);
    expect(pool.allocate()).toBe("10.0.0.2");
  });

  test.each([
    ["10.0.0.1/30", 1],
    ["10.0.0.1/29", 5],
    ["10.0.0.1/24", 253],
    ["10.0.0.1/32", 0],
  ])("%s holds %i addresses, then says Docker's sentence", (cidr, count) => {
    const pool = poolOf(cidr);
    const given = new Set(Array.from({ length: count }, () => pool.allocate()));
    expect(given.size).toBe(count);
    expect(() => pool.allocate()).toThrow(
      "no available IPv4 addresses on this network's address pools: bridge (abc)",
    );
    const [first] = given;
    if (first === undefined) return;
    pool.release(first);
    expect(pool.allocate()).toBe(first);
  });

  test("never gives what was reserved, and goes on behind it", () => {
    const pool = poolOf("10.0.0.1/24");
    pool.reserve("10.0.0.7");
    expect(pool.allocate()).toBe("10.0.0.8");
    expect(() => pool.reserve("10.0.0.8")).toThrow("Address already in use");
    expect(() => pool.reserve("10.0.0.1")).toThrow("Address already in use");
    expect(() => pool.reserve("10.0.1.1")).toThrow("does not belong");
    expect(() => pool.reserve("10.0.0.255")).toThrow("does not belong");
    expect(() => pool.reserve("x")).toThrow("invalid IP address: x");
  });

  test("keeps its books under random use (seed 7)", () => {
    const pool = poolOf("10.0.0.9/27");
    const held = new Set<string>();
    let seed = 7;
    const random = (): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed / 2 ** 31;
    };
    for (let step = 0; step < 5_000; step += 1) {
      const [oldest] = held;
      if (oldest !== undefined && (held.size === 29 || random() < 0.5)) {
        held.delete(oldest);
        pool.release(oldest);
        continue;
      }
      const address = pool.allocate();
      expect(held.has(address)).toBe(false);
      expect(address).not.toBe("10.0.0.9");
      expect(parseIpv4(address) % 32).toBeWithin(1, 31);
      held.add(address);
    }
    expect(pool.usedCount).toBe(held.size);
  });
});

describe("chooseSubnet()", () => {
  test.each([
    [[], "172.17.0.0/16"],
    [["172.17.4.0/24"], "172.18.0.0/16"],
    [["172.16.0.0/12"], "192.168.0.0/20"],
    [["172.16.0.0/12", "192.168.1.0/24"], "192.168.16.0/20"],
    [["172.17.0.0/16", "172.18.0.0/15", "172.20.0.0/14", "172.24.5.5/32"], "172.25.0.0/16"],
  ])("beside %p takes %s", (taken, expected) => {
    expect(formatSubnet(chooseSubnet(taken.map(subnet)))).toBe(expected);
  });

  test("says so when the host uses all of them", () => {
    const taken = [subnet("172.16.0.0/12"), subnet("192.168.0.0/16")];
    expect(() => chooseSubnet(taken)).toThrow("all predefined address pools");
  });
});
