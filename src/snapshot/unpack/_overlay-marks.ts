/** What overlayfs reads as "nothing of the layers below". */
import type { TarHeader } from "../../lib/tar/tar-header.ts";
import { checked } from "../tree/entry-failure.ts";
import { opaqueAttribute } from "../tree/lower-layers.ts";
import type { statAt } from "../tree/tree-names.ts";
import * as tree from "../tree/tree-syscalls.ts";

const charDeviceType = 0o020000;

/** Whether a file says that its name is gone. */
export function isWhiteout(stat: ReturnType<typeof statAt>): boolean {
  return stat?.isCharacterDevice() === true && stat.rdev === 0;
}

/** Says that a name in an open folder is gone. */
export function makeWhiteout(at: number, name: string): tree.CallResult {
  return tree.makeNodeAt(at, name, { mode: charDeviceType, device: 0n });
}

/** Says that nothing of the layers below shows in a folder; "" is the open one itself. */
export function makeOpaque(header: TarHeader, at: number, name: string): void {
  const attribute = { name: opaqueAttribute, value: Buffer.from("y") };
  checked(header, tree.setXattrAt(at, name, attribute));
}
