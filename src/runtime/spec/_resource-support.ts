import type { CgroupSupport } from "./host-facts.ts";
import type { ResourceInput } from "./spec-input.ts";

type Field = keyof ResourceInput;

/** Which limits need what of the kernel, and Docker's sentence when it is missing. */
const requirements: readonly {
  readonly fields: readonly Field[];
  readonly needs: keyof CgroupSupport;
  readonly warning: string;
}[] = [
  {
    fields: ["memoryBytes", "memorySwapBytes"],
    needs: "memory",
    warning:
      "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
  },
  {
    fields: ["memorySwapBytes"],
    needs: "swap",
    warning:
      "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.",
  },
  {
    fields: ["memorySwappiness"],
    needs: "swappiness",
    warning:
      "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.",
  },
  {
    fields: ["memoryReservationBytes"],
    needs: "reservation",
    warning:
      "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
  },
  {
    fields: ["isOomKillDisabled"],
    needs: "oomKillDisable",
    warning: "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
  },
  {
    fields: ["pidsMax"],
    needs: "pids",
    warning:
      "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
  },
  {
    fields: ["cpuShares"],
    needs: "cpuShares",
    warning:
      "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
  },
  {
    fields: ["cpuPeriodUs", "cpuQuotaUs"],
    needs: "cpuQuota",
    warning:
      "Your kernel does not support CPU CFS scheduler or the cgroup is not mounted. Period and quota discarded.",
  },
  {
    fields: ["cpusetCpus", "cpusetMems"],
    needs: "cpuset",
    warning: "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.",
  },
  {
    fields: ["blkioWeight", "blkioWeightDevices"],
    needs: "blkioWeight",
    warning:
      "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
  },
  {
    fields: ["readBps", "writeBps", "readIops", "writeIops"],
    needs: "blkioThrottle",
    warning:
      "Your kernel does not support Block I/O throttling or the cgroup is not mounted. Limit discarded.",
  },
];

/** Limits without those that the kernel does not have, and a sentence about each of these. */
export function dropUnsupported(
  input: ResourceInput,
  support: CgroupSupport,
): { readonly resources: ResourceInput; readonly warnings: readonly string[] } {
  const warnings: string[] = [];
  const dropped = new Set<Field>();
  for (const { fields, needs, warning } of requirements) {
    const asked = fields.filter((field) => isSet(field, input[field]) && !dropped.has(field));
    if (asked.length === 0 || support[needs]) continue;
    for (const field of asked) dropped.add(field);
    warnings.push(warning);
  }
  if (input.isOomKillDisabled === true && (input.memoryBytes ?? 0) === 0) {
    warnings.push(
      "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.",
    );
  }
  if (dropped.size === 0) return { resources: input, warnings };
  const entries = Object.entries(input).filter(
    ([field]) => ![...dropped].some((name) => name === field),
  );
  return { resources: Object.fromEntries(entries), warnings };
}

function isSet(field: Field, value: unknown): boolean {
  if (field === "memorySwappiness") return typeof value === "number" && value >= 0;
  if (field === "pidsMax") return typeof value === "number" && value > 0;
  if (Array.isArray(value)) return value.length > 0;
  return value !== undefined && value !== 0 && value !== "" && value !== false;
}
