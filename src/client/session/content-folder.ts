/**
 * Folders of blobs that an engine reads from and writes to while it builds: OCI image layouts, caches.
 *
 * Blobs come in checked: a file under `blobs/` has the digest that its name says. Names of files are
 * made of digests alone, whatever the engine says.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { contentMethods, writeActions } from "../../api/buildkit/content.ts";
import type { WriteRequest, WriteResponse } from "../../api/buildkit/content.ts";
import { timestampOfNs } from "../../api/buildkit/control.ts";
import { sessionKeys } from "../../api/buildkit/session.ts";
import { codeOf, EngineError } from "../../lib/errors.ts";
import {
  type GrpcHandler,
  type ServerCall,
  type StreamCall,
  streamHandler,
  unaryHandler,
} from "../../lib/grpc/server.ts";
import { createId } from "../../lib/id.ts";

/** Bytes of a blob in one message. */
const pieceBytes = 512 * 1024;

/** A folder that is offered. */
export interface ContentFolder {
  /** Made when something is written to it. */
  readonly path: string;
  readonly isWritable: boolean;
}

/** Serves folders by the names that the engine knows them under. */
export function contentHandlers(
  folders: ReadonlyMap<string, ContentFolder>,
): readonly GrpcHandler[] {
  const folderOf = (call: ServerCall): ContentFolder => {
    const id = call.metadata.get(sessionKeys.storeId)?.[0] ?? "";
    const folder = folders.get(id);
    if (folder !== undefined) return folder;
    throw new EngineError("not-found", `unknown contentStore ${id}`);
  };
  return [
    unaryHandler(contentMethods.info, async ({ digest }, call) => {
      const blob = findBlob(folderOf(call), digest);
      await Promise.resolve();
      return {
        info: {
          digest,
          size: blob.sizeBytes,
          createdAt: timestampOfNs(blob.modifiedNs),
          updatedAt: timestampOfNs(blob.modifiedNs),
          labels: new Map(),
        },
      };
    }),
    streamHandler(contentMethods.read, async (call) => {
      const request = await call.next();
      const { digest = "", offset = 0, size = 0 } = request ?? {};
      const blob = findBlob(folderOf(call), digest);
      const endBytes = size === 0 ? blob.sizeBytes : offset + size;
      if (offset < 0 || offset > blob.sizeBytes || endBytes > blob.sizeBytes) {
        throw new EngineError("invalid-argument", `read ${digest}: it has ${blob.sizeBytes} bytes`);
      }
      for (const piece of piecesOf(blob.path, { offset, endBytes })) await call.send(piece);
    }),
    unaryHandler(contentMethods.status, async ({ ref }) => {
      await Promise.resolve();
      throw new EngineError("not-found", `ingest ${JSON.stringify(ref)} not found`);
    }),
    streamHandler(contentMethods.write, async (call) => {
      const folder = folderOf(call);
      if (!folder.isWritable) {
        throw new EngineError("permission-denied", "this folder is read and not written");
      }
      await write(call, folder.path);
    }),
    unaryHandler(contentMethods.abort, async () => await Promise.resolve({})),
  ];
}

interface FoundBlob {
  readonly path: string;
  readonly sizeBytes: number;
  readonly modifiedNs: bigint;
}

function findBlob(folder: ContentFolder, digest: string): FoundBlob {
  const path = blobPath(folder.path, digest);
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (stat?.isFile() !== true) throw new EngineError("not-found", `content ${digest}: not found`);
  return { path, sizeBytes: Number(stat.size), modifiedNs: stat.mtimeNs };
}

/** @throws invalid-argument for what is no digest */
function blobPath(folder: string, digest: string): string {
  const [, algorithm, hex] = /^(sha256|sha384|sha512):([0-9a-f]{64,128})$/.exec(digest) ?? [];
  if (algorithm === undefined || hex === undefined) {
    throw new EngineError("invalid-argument", `${JSON.stringify(digest)} is no digest`);
  }
  return join(folder, "blobs", algorithm, hex);
}

function* piecesOf(
  path: string,
  range: { readonly offset: number; readonly endBytes: number },
): Generator<{ readonly offset: number; readonly data: Uint8Array }> {
  const fd = openSync(path, "r");
  try {
    for (let at = range.offset; at < range.endBytes; ) {
      const data = Buffer.allocUnsafe(Math.min(pieceBytes, range.endBytes - at));
      const count = readSync(fd, data, 0, data.length, at);
      if (count === 0) return;
      yield { offset: at, data: data.subarray(0, count) };
      at += count;
    }
  } finally {
    closeSync(fd);
  }
}

type WriteCall = StreamCall<WriteRequest, WriteResponse>;

/** One write: what is not committed is gone when the call ends. */
async function write(call: WriteCall, folder: string): Promise<void> {
  const ingest = join(folder, "ingest");
  mkdirSync(ingest, { recursive: true });
  const path = join(ingest, createId().slice(0, 32));
  const fd = openSync(path, "wx", 0o644);
  try {
    await receive(call, { fd, path, folder });
  } finally {
    closeSync(fd);
    rmSync(path, { force: true });
    removeIfEmpty(ingest);
  }
}

async function receive(
  call: WriteCall,
  file: { readonly fd: number; readonly path: string; readonly folder: string },
): Promise<void> {
  const hash = createHash("sha256");
  let offset = 0;
  for (let next = await call.next(); next !== undefined; next = await call.next()) {
    const { action, expected } = next;
    const isThere =
      expected !== "" && statSync(blobPath(file.folder, expected), { throwIfNoEntry: false });
    if (isThere) throw new EngineError("already-exists", `content ${expected}: already exists`);
    if (action !== writeActions.stat && next.data.length > 0) {
      if (next.offset !== offset) {
        throw new EngineError("invalid-argument", `write at ${next.offset}: ${offset} is wanted`);
      }
      hash.update(next.data);
      for (let at = 0; at < next.data.length; ) at += writeSync(file.fd, next.data, at);
      offset += next.data.length;
    }
    if (action !== writeActions.commit) {
      await call.send({ action, offset, total: next.total });
      continue;
    }
    const digest = `sha256:${hash.digest("hex")}`;
    commit(file, { digest, sizeBytes: offset, request: next });
    await call.send({ action, offset, total: next.total, digest });
    return;
  }
}

function commit(
  file: { readonly fd: number; readonly path: string; readonly folder: string },
  made: { readonly digest: string; readonly sizeBytes: number; readonly request: WriteRequest },
): void {
  const { digest, sizeBytes, request } = made;
  const isRight =
    (request.expected === "" || request.expected === digest) &&
    (request.total === 0 || request.total === sizeBytes);
  if (!isRight) {
    throw new EngineError(
      "data-loss",
      `unexpected commit of ${sizeBytes} bytes with ${digest}: ${request.total} with ` +
        `${request.expected} are wanted`,
    );
  }
  fsyncSync(file.fd);
  const target = blobPath(file.folder, digest);
  mkdirSync(dirname(target), { recursive: true });
  renameSync(file.path, target);
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    // Another write is under way in it.
    if (codeOf(error) !== "ENOTEMPTY" && codeOf(error) !== "ENOENT") throw error;
  }
}
