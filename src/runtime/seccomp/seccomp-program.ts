/**
 * Compiles the seccomp section of a runtime spec into the kernel's filter program (BPF) with
 * libseccomp: the same calls, in the same order, that the runtime itself would make. Building the
 * program costs the runtime some 20 ms for each container; compiled once it costs nothing.
 */
import { dlopen } from "bun:ffi";
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import type { RuntimeSeccomp, RuntimeSyscall, SeccompAction } from "../../oci/runtime-spec.ts";

// libseccomp's seccomp.h
const comparisons = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
} as const;
const actions: Readonly<Partial<Record<SeccompAction, number>>> = {
  SCMP_ACT_KILL: 0x00000000,
  SCMP_ACT_KILL_THREAD: 0x00000000,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};
const actionErrno = 0x00050000;
const actionTrace = 0x7ff00000;
const errnoDefault = 1; // EPERM
const comparisonSizeBytes = 24; // struct scmp_arg_cmp
const argumentCountMax = 6;

const functions = {
  seccomp_init: { args: ["u32"], returns: "ptr" },
  seccomp_release: { args: ["ptr"], returns: "void" },
  seccomp_arch_resolve_name: { args: ["ptr"], returns: "u32" },
  seccomp_arch_add: { args: ["ptr", "u32"], returns: "i32" },
  seccomp_syscall_resolve_name: { args: ["ptr"], returns: "i32" },
  seccomp_rule_add_array: { args: ["ptr", "u32", "i32", "u32", "ptr"], returns: "i32" },
  seccomp_export_bpf: { args: ["ptr", "i32"], returns: "i32" },
} as const;

/** Marks a name that libseccomp does not know: `__NR_SCMP_ERROR`. */
const unknownSyscall = -1;
/** The architecture is there already. */
const errnoExists = -17;

/**
 * Compiles a filter. Takes some 20 ms: for a helper process.
 *
 * @throws unavailable without libseccomp; not-implemented for an action that is not known here
 */
export function compileSeccomp(filter: RuntimeSeccomp): Uint8Array {
  const { symbols } = openLibrary();
  const fallback = actionOf(filter.defaultAction, filter.defaultErrnoRet);
  const context = symbols.seccomp_init(fallback);
  if (context === null) throw new EngineError("internal", "compile seccomp filter: no context");
  try {
    for (const name of filter.architectures ?? []) {
      const short = name.replace(/^SCMP_ARCH_/, "").toLowerCase();
      const token = symbols.seccomp_arch_resolve_name(text(short));
      const result = symbols.seccomp_arch_add(context, token);
      if (token === 0 || (result < 0 && result !== errnoExists)) throw failed(name, result);
    }
    for (const rule of filter.syscalls ?? []) {
      const action = actionOf(rule.action, rule.errnoRet);
      if (action === fallback) continue;
      for (const name of rule.names) {
        const number = symbols.seccomp_syscall_resolve_name(text(name));
        if (number === unknownSyscall) continue;
        for (const comparison of comparisonsOf(rule)) {
          const count = comparison.length / comparisonSizeBytes;
          const data = count === 0 ? null : comparison;
          const result = symbols.seccomp_rule_add_array(context, action, number, count, data);
          if (result < 0) throw failed(name, result);
        }
      }
    }
    return exportProgram((fd) => symbols.seccomp_export_bpf(context, fd));
  } finally {
    symbols.seccomp_release(context);
  }
}

function openLibrary(): ReturnType<typeof dlopen<typeof functions>> {
  try {
    return dlopen("libseccomp.so.2", functions);
  } catch (error) {
    throw new EngineError("unavailable", "compile seccomp filter: libseccomp is missing", {
      cause: error,
    });
  }
}

function actionOf(action: SeccompAction, errnoRet: number | undefined): number {
  const code = (errnoRet ?? errnoDefault) & 0xffff;
  if (action === "SCMP_ACT_ERRNO") return actionErrno | code;
  if (action === "SCMP_ACT_TRACE") return actionTrace | code;
  const known = actions[action];
  if (known === undefined) {
    throw new EngineError("not-implemented", `compile seccomp filter: action ${action}`);
  }
  return known >>> 0;
}

/**
 * The conditions of a rule, each an array for one `seccomp_rule_add_array`: all in one, or one each
 * where an argument is named twice, which means either.
 */
function comparisonsOf(rule: RuntimeSyscall): readonly Uint8Array[] {
  const encoded = (rule.args ?? []).slice(0, argumentCountMax).map((argument) => {
    const bytes = Buffer.alloc(comparisonSizeBytes);
    bytes.writeUInt32LE(argument.index, 0);
    bytes.writeUInt32LE(comparisons[argument.op], 4);
    bytes.writeBigUInt64LE(BigInt(argument.value), 8);
    bytes.writeBigUInt64LE(BigInt(argument.valueTwo ?? 0), 16);
    return bytes;
  });
  const indexes = new Set((rule.args ?? []).map((argument) => argument.index));
  return indexes.size < encoded.length ? encoded : [Buffer.concat(encoded)];
}

function exportProgram(write: (fd: number) => number): Uint8Array {
  const fd = openNameless();
  try {
    const result = write(fd);
    if (result < 0) throw failed("export", result);
    const program = Buffer.alloc(fstatSync(fd).size);
    readSync(fd, program, 0, program.length, 0);
    return program;
  } finally {
    closeSync(fd);
  }
}

/** A file without a name: however this process ends, nothing of it stays. */
function openNameless(): number {
  const folder = mkdtempSync(join(tmpdir(), "tug-seccomp-"));
  try {
    return openSync(join(folder, "program"), "w+", 0o600);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function text(name: string): Uint8Array {
  return Buffer.from(`${name}\0`);
}

function failed(what: string, result: number): EngineError {
  return new EngineError("internal", `compile seccomp filter: ${what}: error ${-result}`);
}
