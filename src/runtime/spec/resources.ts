/**
 * Limits of a container: checked against each other and the host, and written as the runtime spec
 * has them. The runtime turns the figures of cgroup v1 into those of v2 itself.
 */
import { EngineError } from "../../lib/errors.ts";
import type { RuntimeThrottleDevice, RuntimeResources } from "../../oci/runtime-spec.ts";
import { blockDeviceNumbers } from "./devices.ts";
import { dropUnsupported } from "./_resource-support.ts";
import { type HostFacts, parseNumberSet } from "./host-facts.ts";
import type { ResourceInput } from "./spec-input.ts";

/** Limits that can be kept, and sentences about those that were dropped. */
export interface CheckedResources {
  readonly resources: ResourceInput;
  readonly warnings: readonly string[];
}

/** What of the host the limits depend on. */
export type ResourceFacts = Pick<HostFacts, "cgroupSupport" | "onlineCpus" | "memoryNodes">;

const memoryMinBytes = 6 * 1024 * 1024;
const nanosecondsPerCpu = 1e9;
const quotaPeriodUs = 100_000;
const cfsMinUs = 1000;
const cfsPeriodMaxUs = 1_000_000;
const blkioWeightMin = 10;
const blkioWeightMax = 1000;

/**
 * Checks limits as a container is created or updated.
 *
 * What the kernel cannot limit is dropped with Docker's warning.
 *
 * @throws invalid-argument in Docker's words
 */
export function checkResources(input: ResourceInput, host: ResourceFacts): CheckedResources {
  const { resources, warnings } = dropUnsupported(input, host.cgroupSupport);
  checkMemory(resources);
  checkCpu(resources, host);
  checkBlkio(resources);
  return { resources, warnings };
}

/** Writes limits for the runtime spec, without the devices; checked ones only. */
export function encodeResources(input: ResourceInput): RuntimeResources {
  const memory = compact({
    limit: positive(input.memoryBytes),
    reservation: positive(input.memoryReservationBytes),
    swap: swapLimit(input),
    swappiness: (input.memorySwappiness ?? -1) >= 0 ? input.memorySwappiness : undefined,
    disableOOMKiller: input.isOomKillDisabled === true ? true : undefined,
  });
  const nanoCpus = positive(input.nanoCpus);
  const cpu = compact({
    shares: positive(input.cpuShares),
    quota:
      nanoCpus === undefined
        ? nonZero(input.cpuQuotaUs)
        : Math.floor((nanoCpus * quotaPeriodUs) / nanosecondsPerCpu),
    period: nanoCpus === undefined ? positive(input.cpuPeriodUs) : quotaPeriodUs,
    realtimeRuntime: positive(input.cpuRealtimeRuntimeUs),
    realtimePeriod: positive(input.cpuRealtimePeriodUs),
    cpus: text(input.cpusetCpus),
    mems: text(input.cpusetMems),
  });
  const blockIO = compact({
    weight: positive(input.blkioWeight),
    weightDevice: input.blkioWeightDevices?.map(({ path, weight }) => ({
      ...blockDeviceNumbers(path),
      weight,
    })),
    throttleReadBpsDevice: rates(input.readBps),
    throttleWriteBpsDevice: rates(input.writeBps),
    throttleReadIOPSDevice: rates(input.readIops),
    throttleWriteIOPSDevice: rates(input.writeIops),
  });
  const pids = positive(input.pidsMax);
  return {
    ...(isEmpty(memory) ? {} : { memory }),
    ...(isEmpty(cpu) ? {} : { cpu }),
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
    ...(isEmpty(blockIO) ? {} : { blockIO }),
  };
}

function checkMemory(input: ResourceInput): void {
  const memory = input.memoryBytes ?? 0;
  const swap = input.memorySwapBytes ?? 0;
  const reservation = input.memoryReservationBytes ?? 0;
  if (memory !== 0 && memory < memoryMinBytes) {
    throw invalid("Minimum memory limit allowed is 6MB");
  }
  if (memory > 0 && swap > 0 && swap < memory) {
    throw invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
  }
  if (memory === 0 && swap > 0) {
    throw invalid("You should always set the Memory limit when using Memoryswap limit, see usage");
  }
  const swappiness = input.memorySwappiness ?? -1;
  if (swappiness < -1 || swappiness > 100) {
    throw invalid(`Invalid value: ${swappiness}, valid memory swappiness range is 0-100`);
  }
  if (reservation !== 0 && reservation < memoryMinBytes) {
    throw invalid("Minimum memory reservation allowed is 6MB");
  }
  if (memory > 0 && reservation > 0 && memory < reservation) {
    throw invalid("Minimum memory limit can not be less than memory reservation limit, see usage");
  }
}

function checkCpu(input: ResourceInput, host: ResourceFacts): void {
  const nanoCpus = input.nanoCpus ?? 0;
  const period = input.cpuPeriodUs ?? 0;
  const quota = input.cpuQuotaUs ?? 0;
  if (nanoCpus > 0 && period > 0) {
    throw invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set");
  }
  if (nanoCpus > 0 && quota > 0) {
    throw invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
  }
  const count = host.onlineCpus.length;
  // Docker: fewer than 0.01 CPUs is refused because the quota would be under a millisecond
  if (
    nanoCpus !== 0 &&
    (nanoCpus < nanosecondsPerCpu / 100 || nanoCpus > count * nanosecondsPerCpu)
  ) {
    throw invalid(
      `range of CPUs is from 0.01 to ${count}.00, as there are only ${count} CPUs available`,
    );
  }
  if (input.cpuShares !== undefined && input.cpuShares < 0) {
    throw invalid(`invalid CPU shares (${input.cpuShares}): value must be a positive integer`);
  }
  if (period !== 0 && (period < cfsMinUs || period > cfsPeriodMaxUs)) {
    throw invalid(
      "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    );
  }
  if (quota > 0 && quota < cfsMinUs) {
    throw invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  }
  checkRealtime(input, host);
  checkSet(input.cpusetCpus, { kind: "cpus", noun: "CPUs", available: host.onlineCpus });
  checkSet(input.cpusetMems, { kind: "mems", noun: "memory nodes", available: host.memoryNodes });
}

function checkRealtime(input: ResourceInput, host: ResourceFacts): void {
  const runtime = input.cpuRealtimeRuntimeUs ?? 0;
  const period = input.cpuRealtimePeriodUs ?? 0;
  if ((runtime > 0 || period > 0) && !host.cgroupSupport.cpuRealtime) {
    const which = period > 0 ? "period" : "runtime";
    throw invalid(
      `kernel does not support CPU real-time scheduler ${which}`.replace("kernel", "your kernel"),
    );
  }
  if (period !== 0 && runtime !== 0 && runtime > period) {
    throw invalid("cpu real-time runtime cannot be higher than cpu real-time period");
  }
}

function checkSet(
  given: string | undefined,
  set: { readonly kind: string; readonly noun: string; readonly available: readonly number[] },
): void {
  if (given === undefined || given === "") return;
  const numbers = parseNumberSet(given);
  if (numbers === undefined) {
    throw invalid(`Invalid value ${given} for cpuset ${set.kind}: invalid format: ${given}`);
  }
  if (numbers.every((number) => set.available.includes(number))) return;
  throw invalid(
    `Requested ${set.noun} are not available - requested ${given}, available: ${formatSet(set.available)}`,
  );
}

function formatSet(numbers: readonly number[]): string {
  const parts: string[] = [];
  for (let first = 0; first < numbers.length; ) {
    let last = first;
    while (numbers[last + 1] === (numbers[last] ?? 0) + 1) last += 1;
    parts.push(first === last ? `${numbers[first]}` : `${numbers[first]}-${numbers[last]}`);
    first = last + 1;
  }
  return parts.join(",");
}

function checkBlkio(input: ResourceInput): void {
  const weight = input.blkioWeight ?? 0;
  if (weight !== 0 && (weight < blkioWeightMin || weight > blkioWeightMax)) {
    throw invalid("Range of blkio weight is from 10 to 1000");
  }
  for (const device of input.blkioWeightDevices ?? []) {
    if (device.weight !== 0 && (device.weight < blkioWeightMin || device.weight > blkioWeightMax)) {
      throw invalid("Range of blkio weight is from 10 to 1000");
    }
  }
}

/** Memory and swap together; twice the memory unless said otherwise, as Docker. */
function swapLimit(input: ResourceInput): number | undefined {
  const memory = input.memoryBytes ?? 0;
  const swap = input.memorySwapBytes ?? 0;
  if (swap > 0) return swap;
  return undefined === input.memorySwapBytes || swap === 0 ? positive(memory * 2) : undefined;
}

function rates(
  given: readonly { readonly path: string; readonly rate: number }[] | undefined,
): readonly RuntimeThrottleDevice[] | undefined {
  if (given === undefined || given.length === 0) return undefined;
  return given.map(({ path, rate }) => ({ ...blockDeviceNumbers(path), rate }));
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function compact<T extends Record<string, unknown>>(fields: T): Defined<T> {
  const result: Defined<T> = {};
  for (const key in fields) {
    const value = fields[key];
    if (isDefined(value)) result[key] = value;
  }
  return result;
}

function isDefined<T>(value: T): value is Exclude<T, undefined> {
  return value !== undefined;
}

function isEmpty(fields: object): boolean {
  return Object.keys(fields).length === 0;
}

function positive(value: number | undefined): number | undefined {
  return value !== undefined && value > 0 ? value : undefined;
}

function nonZero(value: number | undefined): number | undefined {
  return value === 0 ? undefined : value;
}

function text(value: string | undefined): string | undefined {
  return value === "" ? undefined : value;
}

function invalid(message: string): EngineError {
  return new EngineError("invalid-argument", message);
}
