import { readFileSync } from "node:fs";
import { translated } from "./libc.ts";

/** All capabilities by number, linux/capability.h of Linux 5.9 and later. */
export const capabilityNames: readonly string[] = (
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE " +
  "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO " +
  "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME " +
  "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG " +
  "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
  .split(" ")
  .map((name) => `CAP_${name}`);

/** The capabilities that this process could hand on at most: `privileged` means these. */
export function boundingCapabilities(): string[] {
  const status = translated("read own status", () => readFileSync("/proc/self/status", "utf8"));
  return capabilitiesOf(/^CapBnd:\s*([\da-f]+)$/m.exec(status)?.[1] ?? "0");
}

/** The names of a set in the hexadecimal form of /proc/pid/status; unknown bits are left out. */
export function capabilitiesOf(hexadecimal: string): string[] {
  const bits = BigInt(`0x${hexadecimal}`);
  return capabilityNames.filter((_, number) => ((bits >> BigInt(number)) & 1n) === 1n);
}
