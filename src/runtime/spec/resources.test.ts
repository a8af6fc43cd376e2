import { describe, expect, test } from "bun:test";
import { checkResources, encodeResources } from "./resources.ts";
import type { ResourceInput } from "./spec-input.ts";

const mib = 1024 * 1024;
const support = {
  memory: true,
  swap: true,
  swappiness: true,
  reservation: true,
  oomKillDisable: true,
  cpuShares: true,
  cpuQuota: true,
  cpuRealtime: false,
  cpuset: true,
  pids: true,
  blkioWeight: true,
  blkioThrottle: true,
};
const host = { cgroupSupport: support, onlineCpus: [0, 1, 3], memoryNodes: [0] };

describe("checkResources() refuses", () => {
  const rows: readonly (readonly [ResourceInput, string])[] = [
    [{ memoryBytes: 5 * mib }, "Minimum memory limit allowed is 6MB"],
    [{ memoryBytes: -1 }, "Minimum memory limit allowed is 6MB"],
    [
      { memoryBytes: 10 * mib, memorySwapBytes: 5 * mib },
      "Minimum memoryswap limit should be larger than memory limit, see usage",
    ],
    [
      { memorySwapBytes: 5 * mib },
      "You should always set the Memory limit when using Memoryswap limit, see usage",
    ],
    [
      { memoryBytes: 10 * mib, memoryReservationBytes: 20 * mib },
      "Minimum memory limit can not be less than memory reservation limit, see usage",
    ],
    [{ memoryReservationBytes: 1 }, "Minimum memory reservation allowed is 6MB"],
    [{ memorySwappiness: 101 }, "Invalid value: 101, valid memory swappiness range is 0-100"],
    [{ nanoCpus: 99e9 }, "range of CPUs is from 0.01 to 3.00, as there are only 3 CPUs available"],
    [{ nanoCpus: 1e6 }, "range of CPUs is from 0.01 to 3.00"],
    [
      { nanoCpus: 1e9, cpuQuotaUs: 1000 },
      "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
    ],
    [
      { nanoCpus: 1e9, cpuPeriodUs: 1000 },
      "Conflicting options: Nano CPUs and CPU Period cannot both be set",
    ],
    [{ cpuPeriodUs: 5 }, "CPU cfs period can not be less than 1ms (i.e. 1000)"],
    [{ cpuPeriodUs: 1_000_001 }, "or larger than 1s (i.e. 1000000)"],
    [{ cpuQuotaUs: 5 }, "CPU cfs quota can not be less than 1ms (i.e. 1000)"],
    [{ cpuShares: -1 }, "invalid CPU shares (-1): value must be a positive integer"],
    [{ cpusetCpus: "2" }, "Requested CPUs are not available - requested 2, available: 0-1,3"],
    [{ cpusetCpus: "a" }, "Invalid value a for cpuset cpus: invalid format: a"],
    [{ cpusetCpus: "3-0" }, "Invalid value 3-0 for cpuset cpus"],
    [{ cpusetCpus: "0-99999999" }, "Invalid value 0-99999999 for cpuset cpus"],
    [{ cpusetMems: "9" }, "Requested memory nodes are not available - requested 9, available: 0"],
    [{ blkioWeight: 5 }, "Range of blkio weight is from 10 to 1000"],
    [{ cpuRealtimeRuntimeUs: 1 }, "your kernel does not support CPU real-time scheduler runtime"],
  ];
  for (const [input, message] of rows) {
    test(JSON.stringify(input), () => expect(() => checkResources(input, host)).toThrow(message));
  }
});

describe("checkResources()", () => {
  test("accepts limits at their bounds", () => {
    const input: ResourceInput = {
      memoryBytes: 6 * mib,
      memorySwapBytes: 6 * mib,
      memoryReservationBytes: 6 * mib,
      memorySwappiness: 0,
      nanoCpus: 1e7,
      cpusetCpus: "0-1,3",
      blkioWeight: 10,
    };
    expect(checkResources(input, host)).toEqual({ resources: input, warnings: [] });
  });

  test("drops with a warning what the kernel cannot limit", () => {
    const weak = { ...host, cgroupSupport: { ...support, blkioWeight: false, pids: false } };
    const checked = checkResources({ blkioWeight: 5, pidsMax: 3, cpuShares: 2 }, weak);
    expect(checked.resources).toEqual({ cpuShares: 2 });
    expect(checked.warnings).toEqual([
      "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
      "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
    ]);
  });

  test("says nothing of limits that nobody set", () => {
    const none = Object.fromEntries(Object.keys(support).map((name) => [name, false]));
    const weak = { ...host, cgroupSupport: { ...support, ...none } };
    const input = {
      memoryBytes: 0,
      pidsMax: -1,
      memorySwappiness: -1,
      readBps: [],
      cpusetCpus: "",
    };
    expect(checkResources(input, weak).warnings).toEqual([]);
  });

  test("warns of a container that may not be killed and has no limit", () => {
    const checked = checkResources({ isOomKillDisabled: true }, host);
    expect(checked.warnings[0]).toStartWith("OOM killer is disabled for the container, but");
  });
});

describe("encodeResources()", () => {
  const rows: readonly (readonly [string, ResourceInput, object])[] = [
    ["nothing", {}, {}],
    ["zeros", { memoryBytes: 0, cpuShares: 0, pidsMax: 0, cpusetCpus: "", nanoCpus: 0 }, {}],
    [
      "memory, with as much swap",
      { memoryBytes: 64 * mib },
      { memory: { limit: 64 * mib, swap: 128 * mib } },
    ],
    [
      "memory with swap without limit",
      { memoryBytes: 64 * mib, memorySwapBytes: -1 },
      { memory: { limit: 64 * mib } },
    ],
    [
      "memory with its swap",
      { memoryBytes: 64 * mib, memorySwapBytes: 65 * mib, memorySwappiness: 5 },
      { memory: { limit: 64 * mib, swap: 65 * mib, swappiness: 5 } },
    ],
    ["half a CPU", { nanoCpus: 5e8 }, { cpu: { quota: 50_000, period: 100_000 } }],
    [
      "quota and period",
      { cpuQuotaUs: 10_000, cpuPeriodUs: 50_000, cpusetCpus: "0", cpuShares: 512 },
      { cpu: { quota: 10_000, period: 50_000, cpus: "0", shares: 512 } },
    ],
    ["a quota without limit", { cpuQuotaUs: -1 }, { cpu: { quota: -1 } }],
    ["pids", { pidsMax: 100 }, { pids: { limit: 100 } }],
    ["pids without limit", { pidsMax: -5 }, {}],
    [
      "rates by device",
      { writeBps: [{ path: "/dev/null", rate: 7 }], readIops: [] },
      { blockIO: { throttleWriteBpsDevice: [{ major: 1, minor: 3, rate: 7 }] } },
    ],
  ];
  for (const [name, input, expected] of rows) {
    test(name, () => expect(JSON.parse(JSON.stringify(encodeResources(input)))).toEqual(expected));
  }

  test("refuses a device that is not there", () => {
    const input = { readBps: [{ path: "/dev/nope", rate: 1 }] };
    expect(() => encodeResources(input)).toThrow("stat /dev/nope: no such file or directory");
  });
});
