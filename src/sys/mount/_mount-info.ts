import { readFileSync } from "node:fs";
import { translated } from "../libc.ts";

/** One line of mountinfo. @see man 5 proc_pid_mountinfo */
export interface MountInfo {
  readonly id: number;
  readonly parentId: number;
  /** `major:minor` of the files on it. */
  readonly device: string;
  /** Which folder of the file system is shown. */
  readonly root: string;
  readonly target: string;
  readonly options: readonly string[];
  /** `shared:1`, `master:2`, `propagate_from:3`, `unbindable`. */
  readonly propagation: readonly string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

/** What is mounted, as a process sees it; the later of two at one target covers the other. */
export function readMountInfo(pid: number | "self" = "self"): MountInfo[] {
  const path = `/proc/${pid}/mountinfo`;
  const text = translated(`read ${path}`, () => readFileSync(path, "utf8"));
  return parseMountInfo(text);
}

/** Reads the text of a mountinfo file; lines of another form are left out. */
export function parseMountInfo(text: string): MountInfo[] {
  return text.split("\n").flatMap((line) => {
    const fields = line.split(" ");
    const dash = fields.indexOf("-", 6);
    const [id, parentId, device, root, target, options] = fields;
    const [type, source, superOptions] = fields.slice(dash + 1);
    if (dash < 0 || device === undefined || root === undefined || target === undefined) return [];
    if (options === undefined || type === undefined || source === undefined) return [];
    return [
      {
        id: Number(id),
        parentId: Number(parentId),
        device,
        root: unescapeOctal(root),
        target: unescapeOctal(target),
        options: options.split(","),
        propagation: fields.slice(6, dash),
        type,
        source: unescapeOctal(source),
        superOptions: (superOptions ?? "").split(","),
      },
    ];
  });
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
