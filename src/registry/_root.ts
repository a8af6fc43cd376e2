import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ContentStore } from "../content/content-store.ts";
import { openContentStore } from "../content/local-content-store.ts";
import { codeOf, EngineError, messageOf } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { openDiskReserve } from "../metadata/disk-reserve.ts";
import type { Metadata } from "../metadata/metadata.ts";
import { openMetadata } from "../metadata/sqlite-metadata.ts";
import { lockFile } from "../sys/fs/fs.ts";

/**
 * A registry's folder, held by one process:
 *
 * ```
 * <root>/lock                  held by the process that serves, or collects
 *        metadata.db, .backup  repositories, manifests, tags, uploads
 *        reserve               given up when the disk is full, so that removals still work
 *        content/              an OCI image layout: blobs/<algorithm>/<digest>, ingest/<upload>
 *        control.sock          where the serving process is asked to collect
 * ```
 */
export interface OpenRoot extends Disposable {
  readonly content: ContentStore;
  readonly metadata: Metadata;
}

/** Where a serving process is asked. */
export function controlPath(root: string): string {
  return join(root, "control.sock");
}

/**
 * Opens a root; made when missing, unless it `mustExist`.
 *
 * @throws conflict when another process has it, naming its pid; invalid-argument for what cannot be one
 */
export async function openRoot(
  root: string,
  options: { readonly logger: Logger; readonly mustExist?: boolean },
): Promise<OpenRoot> {
  const { logger, mustExist = false } = options;
  if (mustExist && !existsSync(join(root, "metadata.db"))) {
    throw new EngineError("invalid-argument", `--root ${root}: no registry has its data there`);
  }
  makeFolder(root);
  using undo = new DisposableStack();
  const lock = lockFile(join(root, "lock"));
  if ("heldByPid" in lock) {
    const who = lock.heldByPid === undefined ? "another process" : `process ${lock.heldByPid}`;
    throw new EngineError("conflict", `open ${root}: ${who} has it`, {
      details: { code: "ROOT_LOCKED" },
    });
  }
  undo.defer(() => lock.close());
  const reserve = openDiskReserve({ root, logger });
  const metadata = openMetadata({ path: join(root, "metadata.db"), logger, reserve });
  undo.defer(() => metadata[Symbol.dispose]());
  const content = await openContentStore({ root: join(root, "content"), logger });
  const close = undo.move();
  return { content, metadata, [Symbol.dispose]: () => close.dispose() };
}

function makeFolder(root: string): void {
  try {
    mkdirSync(root, { recursive: true, mode: 0o700 });
  } catch (error) {
    const isOther = ["EEXIST", "ENOTDIR"].includes(codeOf(error) ?? "");
    const problem = isOther ? "not a directory" : messageOf(error);
    throw new EngineError("invalid-argument", `--root ${root}: ${problem}`, { cause: error });
  }
}
