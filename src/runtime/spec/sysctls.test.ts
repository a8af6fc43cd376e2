import { describe, expect, test } from "bun:test";
import { planSysctls } from "./sysctls.ts";

const own = { network: true, ipc: true, uts: true, user: false };
const none = { network: false, ipc: false, uts: false, user: false };

describe("planSysctls()", () => {
  test("opens low ports and ping in an own network", () => {
    expect(planSysctls({}, { own })).toEqual({
      "net.ipv4.ip_unprivileged_port_start": "0",
      "net.ipv4.ping_group_range": "0 2147483647",
    });
  });

  test("leaves ping alone in a user namespace, and all in the host's network", () => {
    expect(Object.keys(planSysctls({}, { own: { ...own, user: true } }))).toEqual([
      "net.ipv4.ip_unprivileged_port_start",
    ]);
    expect(planSysctls({}, { own: none, domainname: "x" })).toEqual({});
  });

  test("lets what was asked win, in either notation, and tells the domain name", () => {
    const asked = { "net/ipv4/ping_group_range": "0 0", "net.ipv4.conf.eth0/1.rp_filter": "1" };
    expect(planSysctls(asked, { own, domainname: "ex.com" })).toEqual({
      "net.ipv4.ip_unprivileged_port_start": "0",
      "net.ipv4.ping_group_range": "0 0",
      "net.ipv4.conf.eth0/1.rp_filter": "1",
      "kernel.domainname": "ex.com",
    });
  });

  const accepted = ["kernel.msgmax", "kernel.shm_rmid_forced", "fs.mqueue.msg_max", "net.core.x"];
  for (const name of accepted) {
    test(`accepts ${name}`, () => expect(planSysctls({ [name]: "1" }, { own })[name]).toBe("1"));
  }

  const refusals: readonly (readonly [string, typeof own, string])[] = [
    ["net.core.x", none, 'sysctl "net.core.x" not allowed in host network namespace'],
    ["kernel.msgmax", none, 'sysctl "kernel.msgmax" is not allowed in the hosts ipc namespace'],
    ["fs.mqueue.x", none, 'sysctl "fs.mqueue.x" is not allowed in the hosts ipc namespace'],
    ["kernel.domainname", none, "is not allowed in the hosts uts namespace"],
    ["kernel.core_pattern", own, 'sysctl "kernel.core_pattern" is not in a separate kernel'],
    ["kernel/core_pattern", own, 'sysctl "kernel.core_pattern" is not in a separate kernel'],
    ["vm.swappiness", own, "is not in a separate kernel namespace"],
    ["net.../../vm/x", own, "is not a sysctl name"],
    ["net..x", own, "is not a sysctl name"],
    ["net/../kernel", own, "is not a sysctl name"],
    ["net.a b", own, "is not a sysctl name"],
    ["", own, "is not a sysctl name"],
  ];
  for (const [name, namespaces, message] of refusals) {
    test(`refuses ${JSON.stringify(name)}`, () => {
      expect(() => planSysctls({ [name]: "1" }, { own: namespaces })).toThrow(message);
    });
  }
});
