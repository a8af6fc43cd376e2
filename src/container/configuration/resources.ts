import type { HostConfig } from "../../api/container-config.ts";
import type { ResourceInput } from "../../runtime/spec/spec-input.ts";

/** The limits of a host configuration, in the engine's words. */
export function resourcesOf(hostConfig: HostConfig): ResourceInput {
  const throttles = (list: HostConfig["BlkioDeviceReadBps"]): readonly ThrottleInput[] =>
    (list ?? []).map(({ Path: path, Rate: rate }) => ({ path, rate }));
  const { MemorySwappiness: swappiness, OomKillDisable, PidsLimit } = hostConfig;
  return {
    memoryBytes: hostConfig.Memory,
    memorySwapBytes: hostConfig.MemorySwap,
    memoryReservationBytes: hostConfig.MemoryReservation,
    ...(swappiness === null ? {} : { memorySwappiness: swappiness }),
    ...(OomKillDisable === true ? { isOomKillDisabled: true } : {}),
    cpuShares: hostConfig.CpuShares,
    cpuPeriodUs: hostConfig.CpuPeriod,
    cpuQuotaUs: hostConfig.CpuQuota,
    cpuRealtimePeriodUs: hostConfig.CpuRealtimePeriod,
    cpuRealtimeRuntimeUs: hostConfig.CpuRealtimeRuntime,
    nanoCpus: hostConfig.NanoCpus,
    cpusetCpus: hostConfig.CpusetCpus,
    cpusetMems: hostConfig.CpusetMems,
    ...(PidsLimit === null ? {} : { pidsMax: PidsLimit }),
    blkioWeight: hostConfig.BlkioWeight,
    blkioWeightDevices: (hostConfig.BlkioWeightDevice ?? []).map(
      ({ Path: path, Weight: weight }) => ({ path, weight }),
    ),
    readBps: throttles(hostConfig.BlkioDeviceReadBps),
    writeBps: throttles(hostConfig.BlkioDeviceWriteBps),
    readIops: throttles(hostConfig.BlkioDeviceReadIOps),
    writeIops: throttles(hostConfig.BlkioDeviceWriteIOps),
    ulimits: (hostConfig.Ulimits ?? []).map(({ Name: name, Soft: soft, Hard: hard }) => ({
      name,
      soft,
      hard,
    })),
    deviceCgroupRules: hostConfig.DeviceCgroupRules ?? [],
  };
}

interface ThrottleInput {
  readonly path: string;
  readonly rate: number;
}
