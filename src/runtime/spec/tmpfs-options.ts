import { EngineError } from "../../lib/errors.ts";

/** Flags and their opposites; of a pair the last one given counts. */
const flagPairs: readonly (readonly [string, string])[] = [
  ["ro", "rw"],
  ["noexec", "exec"],
  ["nosuid", "suid"],
  ["nodev", "dev"],
  ["noatime", "atime"],
  ["nodiratime", "diratime"],
  ["sync", "async"],
  ["relatime", "norelatime"],
  ["strictatime", "nostrictatime"],
];
const soloFlags: readonly string[] = ["dirsync", "remount", "mand", "nomand"];
const propagationFlags: ReadonlySet<string> = new Set([
  "private",
  "rprivate",
  "shared",
  "rshared",
  "slave",
  "rslave",
  "unbindable",
  "runbindable",
]);
/** Options with a value, and how it looks. @see man 5 tmpfs */
const valued: ReadonlyMap<string, RegExp> = new Map([
  ["size", /^\d+[kmgKMG]?%?$/],
  ["mode", /^[0-7]{1,5}$/],
  ["uid", /^\d{1,10}$/],
  ["gid", /^\d{1,10}$/],
  ["nr_inodes", /^\d+[kmgKMG]?$/],
  ["nr_blocks", /^\d+[kmgKMG]?$/],
  ["mpol", /^[\w:=,-]+$/],
]);

/**
 * The mount options of a tmpfs: Docker's defaults, changed by what was asked.
 *
 * @throws invalid-argument in Docker's words for an option that a tmpfs does not have
 */
export function mergeTmpfsOptions(asked: readonly string[]): readonly string[] {
  const flags = new Map<string, string>([
    ["noexec", "noexec"],
    ["nosuid", "nosuid"],
    ["nodev", "nodev"],
    ["propagation", "rprivate"],
  ]);
  const values = new Map<string, string>();
  for (const option of asked.flatMap((text) => text.split(","))) {
    if (option === "" || option === "defaults") continue;
    const [name = "", value] = option.split("=", 2);
    const pair = flagPairs.find((names) => names.includes(option));
    if (pair !== undefined) flags.set(pair[0], option);
    else if (soloFlags.includes(option)) flags.set(option, option);
    else if (propagationFlags.has(option)) flags.set("propagation", option);
    else if (value !== undefined && valued.get(name)?.test(value) === true) {
      values.set(name, option);
    } else {
      throw new EngineError("invalid-argument", `invalid tmpfs option ${JSON.stringify(option)}`);
    }
  }
  return [...flags.values(), ...values.values()];
}
