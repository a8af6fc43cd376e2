import { expect, test } from "bun:test";
import { bytesToIp, ipToBytes, parseCidr } from "./_ip.ts";

test.each([
  ["0.0.0.0", "0.0.0.0"],
  ["172.17.0.2", "172.17.0.2"],
  ["::", "::"],
  ["::1", "::1"],
  ["fe80::", "fe80::"],
  ["2001:0DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
  ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
  ["::ffff:192.0.2.128", "::ffff:c000:280"],
])("%s comes back as %s", (text, canonical) => {
  expect(bytesToIp(ipToBytes(text))).toBe(canonical);
});

test.each(["", "1.2.3", "1.2.3.256", "::1%eth0", "1::2::3", "host"])("%j is no address", (text) => {
  expect(() => ipToBytes(text)).toThrow("invalid IP address");
});

test.each(["10.0.0.1", "10.0.0.1/33", "10.0.0.1/", "10.0.0.1/-1", "::/129", "10.0.0.1/8/8"])(
  "%j is no CIDR address",
  (text) => {
    expect(() => parseCidr(text)).toThrow("invalid CIDR address");
  },
);

test("random addresses survive, as the URL parser writes them", () => {
  let seed = 20_261;
  const next = (): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return seed >>> 16;
  };
  for (let round = 0; round < 500; round += 1) {
    const bytes = new Uint8Array(16).map(() => (next() % 3 === 0 ? next() & 0xff : 0));
    const text = bytesToIp(bytes);
    expect(new URL(`http://[${text}]`).hostname).toBe(`[${text}]`);
    expect(ipToBytes(text)).toEqual(bytes);
  }
});
