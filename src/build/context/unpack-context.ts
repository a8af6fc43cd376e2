import { existsSync, mkdirSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { Turns } from "../../lib/concurrency/turn.ts";
import { EngineError, messageOf } from "../../lib/errors.ts";
import { gather } from "../../lib/gather.ts";
import { createId } from "../../lib/id.ts";
import { removeTree } from "../../sys/fs/fs.ts";
import type { ContextFolder } from "../build-service.ts";
import type { BuildServiceOptions } from "../environment.ts";

/** Largest context that a client may send, packed or not, in bytes. */
const contextMaxBytes = 64 * 1024 ** 3;

/** Unpacks a client's context into a folder of its own. @throws invalid-argument */
export async function unpackContext(
  options: Pick<BuildServiceOptions, "copier">,
  wanted: {
    readonly tar: ReadableStream<Uint8Array>;
    /** Holds the folder. */
    readonly root: string;
    readonly signal: AbortSignal;
  },
): Promise<ContextFolder> {
  const { signal } = wanted;
  const own = join(wanted.root, createId().slice(0, 32));
  const [packed, files] = [join(own, "packed"), join(own, "files")];
  for (const folder of [packed, files]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  try {
    // One name that no entry of the archive can have: it would be a folder's.
    const name = createId();
    await receive(wanted.tar, { path: join(packed, name), signal });
    await options.copier.copy(
      {
        target: { type: "bind", source: files, isReadOnly: false },
        steps: [
          {
            kind: "copy",
            sources: [
              {
                kind: "files",
                selection: {
                  tree: { kind: "folder", path: packed },
                  paths: [name],
                  excludes: [],
                  hasParents: false,
                  isLiteral: true,
                },
                unpack: "archives",
              },
            ],
            destination: "/",
            resetsOwners: false,
          },
        ],
      },
      { signal },
    );
    if (existsSync(join(files, name))) {
      throw new EngineError("invalid-argument", "the build context is no tar archive");
    }
    await removeTree(packed);
    return { path: files, [Symbol.asyncDispose]: async () => await removeTree(own) };
  } catch (error) {
    await removeTree(own);
    if (signal.aborted) throw new EngineError("canceled", "context canceled", { cause: error });
    throw fullDisk(error);
  }
}

/** Writes what comes to a file; slow disks hold the client back. */
async function receive(
  source: ReadableStream<Uint8Array>,
  to: { readonly path: string; readonly signal: AbortSignal },
): Promise<void> {
  await using file = await open(to.path, "wx", 0o600);
  const turns = new Turns();
  let sizeBytes = 0;
  for await (const chunk of gather(source)) {
    if (to.signal.aborted) throw new EngineError("canceled", "context canceled");
    sizeBytes += chunk.length;
    if (sizeBytes > contextMaxBytes) {
      throw new EngineError(
        "invalid-argument",
        `the build context is larger than ${contextMaxBytes} bytes`,
      );
    }
    await writeAll(file, chunk);
    await turns.moved(chunk.length);
  }
  if (sizeBytes === 0) throw new EngineError("invalid-argument", "the build context is empty");
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += (await file.write(bytes, at)).bytesWritten;
  }
}

/** A full disk, in words for the client. */
function fullDisk(error: unknown): unknown {
  if (!/ENOSPC|EDQUOT|no space left on device/i.test(messageOf(error))) return error;
  return new EngineError("unavailable", "no space left on device: the build context does not fit", {
    cause: error,
  });
}
