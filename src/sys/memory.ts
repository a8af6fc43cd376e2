/** The memory of this process. */
import { closeSync, openSync, readFileSync, readlinkSync, readSync } from "node:fs";
import { lazyLibc } from "./libc.ts";

const libc = lazyLibc({ madvise: { args: ["u64", "u64", "i32"], returns: "i32" } });
const adviceDontNeed = 4; // asm-generic/mman-common.h
const pageBytes = 4096n;

/** Gives memory that is not in use back to the system; costs a few milliseconds. */
export function releaseMemory(): void {
  Bun.gc(true);
  Bun.shrink();
}

/** From the first byte to before the last. */
export interface AddressRange {
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * Unmaps the pages of the program's own file that have been read so far: the start reads far more of
 * it than the rest of the life. What is needed again comes back from the page cache.
 *
 * Only mappings that cannot be written to and hold no page of the process's own are touched, and the
 * section of the compiled program while no page of it was ever written: nothing can be lost. The
 * first call costs a few milliseconds; later ones make no garbage, for whose collection the runtime
 * would read it all again.
 */
export function releaseFilePages(): void {
  ownRanges ??= findOwnRanges();
  const { clean, program } = ownRanges;
  if (program !== undefined && !hasOwnPages(program)) release(program);
  // Last: all that runs is read again.
  for (const range of clean) release(range);
}

/** The program's own mappings stay where they are as long as the process lives; those of others do not. */
let ownRanges:
  | { readonly clean: readonly AddressRange[]; readonly program: AddressRange | undefined }
  | undefined;

function findOwnRanges(): NonNullable<typeof ownRanges> {
  const path = readlinkSync("/proc/self/exe");
  const clean = cleanFileMappings(readFileSync("/proc/self/smaps", "latin1"), path);
  return { clean, program: programRange() };
}

function release({ start, end }: AddressRange): void {
  // A mapping that the kernel will not let go of stays: no harm.
  libc().madvise(start, end - start, adviceDontNeed);
}

/**
 * Finds mappings of a file, not writable and without pages of the process's own.
 *
 * @param smaps as in /proc/<pid>/smaps, man 5 proc
 */
export function cleanFileMappings(smaps: string, path: string): readonly AddressRange[] {
  const mappings: AddressRange[] = [];
  const head = /^([\da-f]+)-([\da-f]+) (\S{4}) [\da-f]+ \S+ (\d+) +(\/\S.*)$/;
  let current: AddressRange | undefined;
  for (const line of smaps.split("\n")) {
    const match = head.exec(line);
    if (match !== null) {
      const [, start = "0", end = "0", permissions = "", , name] = match;
      const isCandidate = name === path && /^r-/.test(permissions);
      current = isCandidate ? { start: BigInt(`0x${start}`), end: BigInt(`0x${end}`) } : undefined;
    } else if (/^[\da-f]+-[\da-f]+ /.test(line)) {
      current = undefined;
    } else if (/^(?:Anonymous|Private_Dirty|Shared_Dirty|Swap|Locked): +[1-9]/.test(line)) {
      current = undefined;
    } else if (line.startsWith("VmFlags:") && current !== undefined) {
      mappings.push(current);
      current = undefined;
    }
  }
  return mappings;
}

/** Where the compiled program lies; it is read, never written. */
function programRange(): AddressRange | undefined {
  const fd = openSync("/proc/self/exe", "r");
  try {
    return programSection((offset, sizeBytes) => {
      const bytes = Buffer.alloc(sizeBytes);
      return bytes.subarray(0, readSync(fd, bytes, 0, sizeBytes, offset));
    });
  } finally {
    closeSync(fd);
  }
}

const entryBytes = 8;
const entries = new Uint8Array(512 * entryBytes);

/** A section lies in a writable mapping beside others that are written: /proc/<pid>/pagemap tells. */
function hasOwnPages({ start, end }: AddressRange): boolean {
  const fd = openSync("/proc/self/pagemap", "r");
  try {
    let at = Number(start / pageBytes) * entryBytes;
    let leftBytes = Number((end - start) / pageBytes) * entryBytes;
    while (leftBytes > 0) {
      const sizeBytes = readSync(fd, entries, 0, Math.min(leftBytes, entries.length), at);
      if (sizeBytes === 0) return true;
      for (let offset = entryBytes - 1; offset < sizeBytes; offset += entryBytes) {
        // Present or swapped, and no page of a file: man 5 proc.
        const flags = entries[offset] ?? 0;
        if ((flags & 0xc0) !== 0 && (flags & 0x20) === 0) return true;
      }
      at += sizeBytes;
      leftBytes -= sizeBytes;
    }
    return false;
  } finally {
    closeSync(fd);
  }
}

const sectionHeaderBytes = 64;
const sectionCountMax = 256;
const namesMaxBytes = 64 * 1024;

/**
 * Whole pages of the section `.bun` of a 64-bit ELF program that is loaded where it says, which is
 * where the runtime's compiler puts the program; undefined where there is none.
 *
 * @param read bytes of the file; fewer than asked for at its end
 */
export function programSection(
  read: (offset: bigint, sizeBytes: number) => Buffer,
): AddressRange | undefined {
  const head = read(0n, sectionHeaderBytes);
  if (head.length < sectionHeaderBytes || head.readUInt32BE(0) !== 0x7f454c46) return undefined;
  // 64 bits, little endian, ET_EXEC.
  if (head[4] !== 2 || head[5] !== 1 || head.readUInt16LE(16) !== 2) return undefined;
  const count = head.readUInt16LE(60);
  if (head.readUInt16LE(58) !== sectionHeaderBytes || count > sectionCountMax) return undefined;
  const table = read(head.readBigUInt64LE(40), count * sectionHeaderBytes);
  const sections = Array.from({ length: table.length / sectionHeaderBytes }, (_, index) =>
    table.subarray(index * sectionHeaderBytes, (index + 1) * sectionHeaderBytes),
  );
  const names = sections[head.readUInt16LE(62)];
  if (names === undefined) return undefined;
  const namesBytes = Math.min(Number(names.readBigUInt64LE(32)), namesMaxBytes);
  const text = `\0${read(names.readBigUInt64LE(24), namesBytes).toString("latin1")}\0`;
  const nameOffset = text.indexOf("\0.bun\0");
  const found = sections.find((section) => section.readUInt32LE(0) === nameOffset);
  if (nameOffset < 0 || found === undefined) return undefined;
  const address = found.readBigUInt64LE(16);
  const start = (address + pageBytes - 1n) & -pageBytes;
  const end = (address + found.readBigUInt64LE(32)) & -pageBytes;
  return end > start ? { start, end } : undefined;
}
