import { posix } from "node:path";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import { generateSpec } from "../../runtime/spec/generate-spec.ts";
import type { SpecInput } from "../../runtime/spec/spec-input.ts";
import type { SnapshotMount } from "../../snapshot/snapshotter.ts";
import type { BuildRequest } from "../build-service.ts";
import type { BuildServiceOptions } from "../environment.ts";
import type { StepMounts } from "./_step-mounts.ts";
import type { RunAction } from "../step.ts";

/** Name of the machine as commands of builds see it. BuildKit's. */
export const stepHostname = "buildkitsandbox";

/** Processes and threads of one command: it forks no machine to death. */
const stepPidsMax = 8192;

/** What the spec of one command is made from. */
export interface StepSpecPlan {
  readonly id: string;
  readonly run: RunAction;
  readonly build: Pick<BuildRequest, "resources" | "shmSizeBytes" | "cgroupParent" | "ulimits">;
  readonly mounts: StepMounts;
  readonly rootfs: SnapshotMount;
  readonly etcFiles: { readonly hosts: string; readonly resolvConf: string };
  /** Where the root file system will be mounted. */
  readonly root: string;
}

/**
 * Makes the runtime spec of a command, with the defaults of any container.
 *
 * The sysctls of the network are apart: the shim sets them, whose namespace it is.
 */
export function stepSpec(
  options: Pick<BuildServiceOptions, "defaults" | "host" | "seccompPrograms">,
  plan: StepSpecPlan,
): { readonly spec: RuntimeSpec; readonly sysctls: Readonly<Record<string, string>> } {
  const generated = generateSpec(specInput(options, plan), options.host);
  const spec = options.seccompPrograms?.addTo(generated) ?? generated;
  const { process: command, linux } = spec;
  const own = new Set(plan.run.env.map((entry) => entry.slice(0, entry.indexOf("="))));
  const all = Object.entries(linux?.sysctl ?? {});
  const isOfNetwork = ([name]: readonly [string, string]): boolean => name.startsWith("net.");
  return {
    spec: {
      ...spec,
      ...(command === undefined
        ? {}
        : {
            process: {
              ...command,
              // Docker: commands of builds are not told their machine's name, seen in 28.5
              env: (command.env ?? []).filter(
                (entry) => own.has("HOSTNAME") || !entry.startsWith("HOSTNAME="),
              ),
            },
          }),
      ...(linux === undefined
        ? {}
        : {
            linux: {
              ...linux,
              sysctl: Object.fromEntries(all.filter((entry) => !isOfNetwork(entry))),
            },
          }),
    },
    sysctls: Object.fromEntries(all.filter(isOfNetwork)),
  };
}

function specInput(
  options: Pick<BuildServiceOptions, "defaults" | "host">,
  plan: StepSpecPlan,
): SpecInput {
  const { defaults } = options;
  const { run, build, mounts, rootfs } = plan;
  const parent = build.cgroupParent ?? "";
  const asked = build.ulimits;
  const missing = defaults.ulimits.filter(({ name }) => !asked.some((one) => one.name === name));
  const { cpuPeriod, cpuQuota, ...resources } = build.resources ?? {};
  return {
    containerId: plan.id,
    hostname: run.hostname ?? stepHostname,
    rootfs: plan.root,
    layerDirs: layerDirsOf(rootfs),
    isRootReadOnly: false,
    args: run.args,
    env: [...run.hiddenEnv, ...run.env, ...mounts.env],
    workingDir: run.workingDir,
    user: run.user,
    groupAdd: [],
    hasTty: false,
    isPrivileged: run.isInsecure,
    capAdd: [],
    capDrop: [],
    securityOpt: [],
    devices: [],
    mounts: mounts.inputs.map((input) => ({ ...input, isUntrusted: true })),
    // What a command wrote there would be lost.
    etcFiles: { ...plan.etcFiles, areReadOnly: true },
    shmSizeBytes: build.shmSizeBytes ?? defaults.shmSizeBytes ?? 0,
    namespaces: {
      network:
        run.network === "host"
          ? { kind: "path", path: `/proc/${process.pid}/ns/net` }
          : { kind: "inherited" },
      pid: { kind: "private" },
      ipc: { kind: "private" },
      uts: { kind: "private" },
      cgroup: { kind: "private" },
      user: { kind: "host" },
    },
    sysctls: {},
    resources: {
      ...(options.host.cgroupSupport.pids ? { pidsMax: stepPidsMax } : {}),
      ...resources,
      ...(cpuPeriod === undefined ? {} : { cpuPeriodUs: cpuPeriod }),
      ...(cpuQuota === undefined ? {} : { cpuQuotaUs: cpuQuota }),
      ulimits: [...asked, ...missing],
    },
    cgroupsPath: posix.join("/", parent === "" ? defaults.cgroupParent : parent, plan.id),
    oomScoreAdj: 0,
    annotations: {},
    ...(defaults.hasNoNewPrivileges === true ? { hasDefaultNoNewPrivileges: true } : {}),
  };
}

/** Directories that make up a root file system, uppermost first. */
function layerDirsOf(rootfs: SnapshotMount): readonly string[] {
  if (rootfs.type === "bind") return rootfs.source === undefined ? [] : [rootfs.source];
  const upper = rootfs.upperDir === undefined ? [] : [rootfs.upperDir];
  return [...upper, ...(rootfs.lowerDirs ?? [])];
}
