import { closeSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import { readTar } from "../../lib/tar/tar-entries.ts";
import { archiveLimits, openArchive } from "./_archive-stream.ts";
import { ArchiveWriter } from "./_archive-writer.ts";
import { type MatchCopy, openSource } from "./_copy-match.ts";
import type { Owner } from "../tree/owner.ts";
import type { SourceMatch } from "../tree/selection.ts";
import type { TargetFolder } from "./_target-tree.ts";

/** A file that may be an archive, and where its content would go. */
export interface ArchiveSource {
  readonly match: SourceMatch;
  /** Called when it is one. */
  readonly openFolder: () => TargetFolder;
  /** Of all that the archive describes; what it says itself when undefined. */
  readonly owner: Owner | undefined;
}

/**
 * Unpacks a file into a folder; false when it is no archive.
 *
 * @throws invalid-argument for an archive that is malformed, hostile or beyond the limits
 */
export async function unpackArchive(copy: MatchCopy, archive: ArchiveSource): Promise<boolean> {
  const fd = openSource(copy.source, archive.match.node);
  try {
    const source = await openArchive(fd);
    if (source === undefined) return false;
    const writer = new ArchiveWriter(copy, { folder: archive.openFolder(), owner: archive.owner });
    try {
      await readTar(source, { handler: writer, limits: archiveLimits });
      writer.finish();
    } catch (error) {
      throw named(error, archive.match.path);
    } finally {
      writer.close();
    }
    return true;
  } finally {
    closeSync(fd);
  }
}

function named(error: unknown, path: string): unknown {
  if (!(error instanceof EngineError)) return error;
  const sentence = `unpack ${JSON.stringify(Buffer.from(path, "latin1").toString())}`;
  return new EngineError(error.kind, `${sentence}: ${error.message}`, { cause: error });
}
