/**
 * Where the installed seccomp profile answers otherwise than Docker, as data.
 *
 * The profile of Debian's golang-github-containers-common answers ENOSYS to what it does not know,
 * which programs handle better than EPERM when they meet a system call younger than the filter; that
 * is kept. What Docker denies by name is denied here with the same EPERM. Each rule below replaces
 * all rules of the profile for the names that it has.
 *
 * One answer differs in number alone: `personality` with a value that is not allowed is ENOSYS here
 * and EPERM there, because a filter cannot name two bounds of one argument in one rule.
 */
import type { SeccompAction, SeccompOperator } from "../../oci/runtime-spec.ts";
import type { SeccompRule } from "./seccomp.ts";

const allow: SeccompAction = "SCMP_ACT_ALLOW";
const deny: SeccompAction = "SCMP_ACT_ERRNO";
// man 3 errno
const eperm = 1;
const enosys = 38;

/** System calls that need one of some capabilities in the bounding set. */
const byCapability: readonly (readonly [names: readonly string[], caps: readonly string[]])[] = [
  [
    [
      "fanotify_init",
      "fsconfig",
      "fsmount",
      "fsopen",
      "fspick",
      "lookup_dcookie",
      "mount",
      "mount_setattr",
      "move_mount",
      "open_tree",
      "quotactl",
      "quotactl_fd",
      "setdomainname",
      "sethostname",
      "setns",
      "umount",
      "umount2",
      "unshare",
      "lsm_get_self_attr",
      "lsm_list_modules",
      "lsm_set_self_attr",
    ],
    ["CAP_SYS_ADMIN"],
  ],
  [["bpf"], ["CAP_SYS_ADMIN", "CAP_BPF"]],
  [["perf_event_open"], ["CAP_SYS_ADMIN", "CAP_PERFMON"]],
  [["syslog"], ["CAP_SYS_ADMIN", "CAP_SYSLOG"]],
  [["reboot"], ["CAP_SYS_BOOT"]],
  [["kcmp", "pidfd_getfd", "process_madvise"], ["CAP_SYS_PTRACE"]],
  [["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"], ["CAP_SYS_NICE"]],
];

/** Allowed to all since the installed profile was made, or denied there without need. */
const allowed: readonly string[] = [
  "cachestat",
  "fchmodat2",
  "futex_requeue",
  "futex_wait",
  "futex_waitv",
  "futex_wake",
  "getxattrat",
  "io_pgetevents",
  "io_pgetevents_time64",
  "listmount",
  "listxattrat",
  "map_shadow_stack",
  "mseal",
  "name_to_handle_at",
  "process_vm_readv",
  "process_vm_writev",
  "ptrace",
  "removexattrat",
  "setxattrat",
  "statmount",
  "uretprobe",
  "vmsplice",
];

/** Denied to all: io_uring and keys are shared with the host, the others are relics. */
const denied: readonly string[] = [
  "_sysctl",
  "add_key",
  "afs_syscall",
  "create_module",
  "get_kernel_syms",
  "getpmsg",
  "io_uring_enter",
  "io_uring_register",
  "io_uring_setup",
  "keyctl",
  "pivot_root",
  "putpmsg",
  "readdir",
  "request_key",
  "sigaction",
  "signal",
  "sigpending",
  "sigsuspend",
  "timerfd",
  "tuxcall",
  "vserver",
];

// linux/socket.h. Through AF_ALG and AF_VSOCK a container speaks with the kernel's crypto and the
// hypervisor, past its network namespace.
const afAlg = 38;
const afVsock = 40;
// linux/sched.h: each flag of clone that makes a namespace; together 0x7e020000.
const namespaceFlags: readonly number[] = [
  0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
];
const namespaceMask = 0x7e020000;

/** Docker: the answers of 28.5 with AF_ALG denied as in later ones. */
export const dockerAnswers: readonly SeccompRule[] = [
  { names: allowed, action: allow },
  { names: denied, action: deny, errnoRet: eperm },
  ...byCapability.flatMap(([names, caps]) => [
    ...caps.map((cap) => ({ names, action: allow, includes: { caps: [cap] } })),
    { names, action: deny, errnoRet: eperm, excludes: { caps } },
  ]),
  socketRule(deny, { op: "SCMP_CMP_EQ", value: afAlg }),
  socketRule(deny, { op: "SCMP_CMP_EQ", value: afVsock }),
  socketRule(allow, { op: "SCMP_CMP_LT", value: afAlg }),
  socketRule(allow, { op: "SCMP_CMP_EQ", value: afAlg + 1 }),
  socketRule(allow, { op: "SCMP_CMP_GT", value: afVsock }),
  { names: ["clone", "clone3"], action: allow, includes: { caps: ["CAP_SYS_ADMIN"] } },
  {
    names: ["clone"],
    action: allow,
    args: [{ index: 0, op: "SCMP_CMP_MASKED_EQ", value: namespaceMask, valueTwo: 0 }],
    excludes: { caps: ["CAP_SYS_ADMIN"] },
  },
  ...namespaceFlags.map((flag) => ({
    names: ["clone"],
    action: deny,
    errnoRet: eperm,
    args: [{ index: 0, op: "SCMP_CMP_MASKED_EQ", value: flag, valueTwo: flag }],
    excludes: { caps: ["CAP_SYS_ADMIN"] },
  })),
  // ENOSYS makes the C library fall back to clone, whose flags a filter can see.
  {
    names: ["clone3"],
    action: deny,
    errnoRet: enosys,
    excludes: { caps: ["CAP_SYS_ADMIN"] },
  },
];

function socketRule(
  action: SeccompAction,
  condition: { readonly op: SeccompOperator; readonly value: number },
): SeccompRule {
  return {
    names: ["socket"],
    action,
    ...(action === deny ? { errnoRet: eperm } : {}),
    args: [{ index: 0, ...condition }],
  };
}
