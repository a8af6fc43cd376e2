import { afterEach, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { silentLogger } from "../lib/log.ts";
import { describeHost, sh } from "./_netns-fixture.ts";
import { NftSession } from "./_nft-session.ts";
import { parseCidr } from "./cidr.ts";
import { type FilteredPort, Firewall } from "./firewall.ts";

const bridge = { name: "tug0", subnet: parseCidr("172.17.0.0/16").subnet };
const port = (hostPort: number, containerIp = "172.17.0.2"): FilteredPort => ({
  protocol: "tcp",
  hostIp: "0.0.0.0",
  hostPort,
  containerIp,
  containerPort: 80,
});

describe("without a working nft", () => {
  test("a missing program is unavailable and says what to install", async () => {
    await using firewall = new Firewall({ table: "t", logger: silentLogger, program: "no-nft" });
    const attempt = firewall.install([bridge], { isForwardingOurs: false });
    expect(attempt).rejects.toThrow("nft not found, install the package nftables");
    expect(firewall.isInstalled).toBe(false);
  });

  test("a program that ends at once is unavailable", async () => {
    await using session = new NftSession("false");
    expect(session.run("list tables")).rejects.toThrow("nft does not answer");
  });
});

describeHost("the packet filter", import.meta.path, () => {
  afterEach(() => {
    sh("nft flush ruleset");
  });

  test("a session tells each line's complaint apart, and runs a line wholly or not at all", async () => {
    await using session = new NftSession();
    const answers = await Promise.all([
      session.run("add table inet a"),
      session.run("add table inet b; add chain inet nowhere c"),
      session.run("this is no command"),
      session.run("add table inet c"),
    ]);
    expect(answers.map((answer) => answer !== "")).toEqual([false, true, true, false]);
    expect(answers[1]).toContain("No such file");
    expect(sh("nft list tables")).toBe("table inet a\ntable inet c");
  });

  test("a session whose child was killed starts another", async () => {
    await using session = new NftSession();
    await session.run("add table inet a");
    sh(`kill -9 $(pgrep -P ${process.pid} -x nft)`);
    await session.run("add table inet b").catch(() => undefined);
    expect(await session.run("add table inet b")).toBe("");
    expect(sh("nft list tables")).toContain("inet b");
  });

  test("a change takes a few milliseconds and an owner's ports go with it", async () => {
    await using firewall = new Firewall({ table: "t", logger: silentLogger });
    await firewall.install([bridge], { isForwardingOurs: false });
    const before = performance.now();
    for (let hostPort = 1; hostPort <= 20; hostPort += 1) await firewall.add("a", [port(hostPort)]);
    expect((performance.now() - before) / 20).toBeLessThan(10);
    await firewall.add("b", [port(5, "172.17.0.3"), port(21, "172.17.0.3")]);
    await firewall.remove("a");
    const map = sh("nft list map inet t ports_any");
    expect(map.match(/tcp \. \d+/g)).toEqual(["tcp . 5", "tcp . 21"]);
    expect(map).toContain("tcp . 5 : 172.17.0.3 . 80");
    await firewall.remove("a");
  });

  test("elements that others added or took away do not stand in the way", async () => {
    await using firewall = new Firewall({ table: "t", logger: silentLogger });
    await firewall.install([bridge], { isForwardingOurs: false });
    await firewall.add("a", [port(80)]);
    sh("nft flush map inet t ports_any");
    sh("nft add element inet t ports_any { tcp . 81 : 1.2.3.4 . 5 }");
    await firewall.add("b", [port(81)]);
    await firewall.remove("a");
    const map = sh("nft list map inet t ports_any");
    expect(map).toContain("tcp . 81 : 172.17.0.2 . 80");
    expect(map).not.toContain("tcp . 80 ");
  });

  test("a deleted table is healed once, and tables of others are left alone", async () => {
    await using firewall = new Firewall({ table: "t", logger: silentLogger });
    await firewall.install([bridge], { isForwardingOurs: false });
    await firewall.add("a", [port(80)]);
    expect(await firewall.heal()).toBe(false);
    sh("nft delete table inet t; nft add table inet others; nft add table ip t");
    expect(await firewall.heal()).toBe(true);
    expect(await firewall.heal()).toBe(false);
    expect(sh("nft list tables").split("\n").sort()).toEqual([
      "table inet others",
      "table inet t",
      "table ip t",
    ]);
    expect(sh("nft list map inet t ports_any")).toContain("tcp . 80 : 172.17.0.2 . 80");
  });

  test("a port that could not be taken back goes as soon as nft works again", async () => {
    const folder = mkdtempSync("/tmp/tug-nft-");
    const [program, broken] = [join(folder, "nft"), join(folder, "broken")];
    writeFileSync(program, `#!/bin/sh\n[ ! -e ${broken} ] || exit 1\nexec nft "$@"\n`, {
      mode: 0o755,
    });
    await using firewall = new Firewall({ table: "t", logger: silentLogger, program });
    await firewall.install([bridge], { isForwardingOurs: false });
    await firewall.add("a", [port(80)]);
    await firewall.add("b", [port(81)]);
    writeFileSync(broken, "");
    sh(`kill -9 $(pgrep -P ${process.pid} -x nft)`);
    await expect(firewall.remove("a")).rejects.toMatchObject({ kind: "unavailable" });
    rmSync(broken);
    expect(await firewall.heal()).toBe(true);
    expect(sh("nft list map inet t ports_any").match(/tcp \. \d+/g)).toEqual(["tcp . 81"]);
    expect(await firewall.heal()).toBe(false);
    rmSync(folder, { recursive: true });
  });

  test("the table stays when the daemon ends, and is replaced by the next one", async () => {
    const first = new Firewall({ table: "t", logger: silentLogger });
    await first.install([bridge], { isForwardingOurs: false });
    await first.add("a", [port(80)]);
    await first.close();
    expect(sh("nft list map inet t ports_any")).toContain("tcp . 80 ");
    await using second = new Firewall({ table: "t", logger: silentLogger });
    second.hold("b", [port(81)]);
    await second.install([bridge], { isForwardingOurs: true });
    const table = sh("nft list table inet t");
    expect(table).not.toContain("tcp . 80 ");
    expect(table).toContain("tcp . 81 ");
    expect(table).toContain("iifname != @bridges drop");
    expect(
      spawnSync("pgrep", ["-P", String(process.pid), "-x", "nft", "-c"]).stdout.toString(),
    ).toBe("1\n");
  });
});
