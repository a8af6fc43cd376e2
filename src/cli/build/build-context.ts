/** What is built from: a folder, a URL, or standard input. */
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { uploadUrl } from "../../client/session/build-session.ts";
import { EngineError } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import { readStandardInput } from "../standard-input.ts";

/** Where a build's files are, as the engine is told and as the session offers them. */
export interface BuildContext extends Disposable {
  /** Attributes of the frontend: `context`, `filename`. */
  readonly attrs: ReadonlyMap<string, string>;
  /** Folders of the session. */
  readonly folders: ReadonlyMap<string, string>;
  readonly uploads: ReadonlyMap<string, AsyncIterable<Uint8Array>>;
  /** The same for the same folder, so that the engine knows it again. */
  readonly sharedKey: string;
  /** Path of the Dockerfile on this machine; undefined when it is elsewhere. */
  readonly dockerfilePath?: string;
}

const defaultDockerfile = "Dockerfile";
/** A Dockerfile on standard input is this long at most. */
const dockerfileMaxBytes = 16 * 1024 * 1024;

/**
 * Settles what to build from.
 *
 * @param operand PATH, URL or `-`
 * @param file `--file`; "" when it was not given
 */
export async function openBuildContext(operand: string, file: string): Promise<BuildContext> {
  if (operand === "-" && file === "-") {
    throw new EngineError(
      "invalid-argument",
      "invalid argument: can't use stdin for both build context and dockerfile",
    );
  }
  if (operand === "-") return await contextOfInput(file);
  if (isLocalRepository(operand)) {
    const { openLocalRepository } = await import("./local-repository.ts");
    return await openLocalRepository(
      operand,
      async (folder) => await contextOfFolder(folder, file),
    );
  }
  if (isRemote(operand)) return contextOfUrl(operand, file);
  return await contextOfFolder(operand, file);
}

/** A repository on this machine: the engine, which may be elsewhere, never reads it. */
function isLocalRepository(operand: string): boolean {
  return operand.startsWith("file://");
}

/** Tells a URL or a repository from a path: what is there on the disk is a path. */
export function isRemote(operand: string): boolean {
  if (existsSync(operand)) return false;
  return (
    /^(https?|git|ssh):\/\//.test(operand) ||
    /^git@[\w.-]+:/.test(operand) ||
    /^github\.com\//.test(operand)
  );
}

async function contextOfFolder(operand: string, file: string): Promise<BuildContext> {
  const path = folderOf(operand);
  if (file === "-") {
    const text = await readInput(dockerfileMaxBytes);
    return withTemporaryDockerfile(text, { context: path, sharedKey: path });
  }
  if (file !== "" && isRemote(file)) {
    throw new EngineError(
      "not-implemented",
      `--file ${file}: a Dockerfile behind a URL is not read`,
    );
  }
  const dockerfilePath = file === "" ? join(path, defaultDockerfile) : resolve(file);
  const other = file === "" ? join(path, defaultDockerfile.toLowerCase()) : undefined;
  const found = [dockerfilePath, other].find((each) => each !== undefined && existsSync(each));
  if (found === undefined) {
    throw new EngineError(
      "invalid-argument",
      `failed to read dockerfile: open ${file === "" ? defaultDockerfile : file}: no such file or directory`,
    );
  }
  return {
    attrs: new Map([["filename", basename(found)]]),
    folders: new Map([
      ["context", path],
      ["dockerfile", dirname(realFile(found))],
    ]),
    uploads: new Map(),
    sharedKey: path,
    dockerfilePath: found,
    [Symbol.dispose]: () => undefined,
  };
}

/** A link to a Dockerfile elsewhere is followed, under its own name only when that stays. */
function realFile(path: string): string {
  if (!lstatSync(path).isSymbolicLink()) return path;
  const real = realpathSync(path);
  return basename(real) === basename(path) ? real : path;
}

function folderOf(operand: string): string {
  const path = resolve(operand);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isDirectory() === true) return path;
  throw new EngineError(
    "invalid-argument",
    stat === undefined
      ? `unable to prepare context: path ${JSON.stringify(operand)} not found`
      : `unable to prepare context: path ${JSON.stringify(operand)} is not a directory`,
  );
}

function contextOfUrl(operand: string, file: string): BuildContext {
  return {
    attrs: new Map([["context", operand], ...(file === "" ? [] : [["filename", file] as const])]),
    folders: new Map(),
    uploads: new Map(),
    sharedKey: operand,
    [Symbol.dispose]: () => undefined,
  };
}

/** A tar, packed or not, or else a Dockerfile without a context. */
async function contextOfInput(file: string): Promise<BuildContext> {
  const input = readStandardInput()[Symbol.asyncIterator]();
  const head: Uint8Array[] = [];
  let sizeBytes = 0;
  while (sizeBytes < tarMagicEnd) {
    const next = await input.next();
    if (next.done === true) break;
    head.push(next.value);
    sizeBytes += next.value.length;
  }
  const begin = Buffer.concat(head);
  if (!isArchive(begin)) {
    const rest = await collect(input, dockerfileMaxBytes - begin.length);
    return withTemporaryDockerfile(Buffer.concat([begin, rest]), { sharedKey: "stdin" });
  }
  const id = createId().slice(0, 25);
  async function* upload(): AsyncGenerator<Uint8Array> {
    yield begin;
    for (let next = await input.next(); next.done !== true; next = await input.next()) {
      yield next.value;
    }
  }
  return {
    attrs: new Map([
      ["context", uploadUrl(id)],
      ...(file === "" ? [] : [["filename", file] as const]),
    ]),
    folders: new Map(),
    uploads: new Map([[id, upload()]]),
    sharedKey: id,
    [Symbol.dispose]: () => undefined,
  };
}

/** Where `ustar` ends in the first block of a tar. */
const tarMagicEnd = 262;
/** What packed archives begin with: gzip, bzip2, xz, zstd. */
const packedMagics = ["1f8b", "425a68", "fd377a585a00", "28b52ffd"];

function isArchive(begin: Buffer): boolean {
  if (begin.toString("latin1", 257, tarMagicEnd) === "ustar") return true;
  return packedMagics.some((magic) => begin.toString("hex", 0, magic.length / 2) === magic);
}

function withTemporaryDockerfile(
  text: Uint8Array,
  from: { readonly context?: string; readonly sharedKey: string },
): BuildContext {
  const folder = mkdtempSync(join(tmpdir(), "tug-build-"));
  writeFileSync(join(folder, defaultDockerfile), text);
  return {
    attrs: new Map([["filename", defaultDockerfile]]),
    // Without a context of its own the build sees a folder with nothing but the Dockerfile.
    folders: new Map([
      ["context", from.context ?? folder],
      ["dockerfile", folder],
    ]),
    uploads: new Map(),
    sharedKey: from.sharedKey,
    dockerfilePath: join(folder, defaultDockerfile),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

async function readInput(sizeMaxBytes: number): Promise<Buffer> {
  return await collect(readStandardInput()[Symbol.asyncIterator](), sizeMaxBytes);
}

async function collect(input: AsyncIterator<Uint8Array>, sizeMaxBytes: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for (let next = await input.next(); next.done !== true; next = await input.next()) {
    sizeBytes += next.value.length;
    if (sizeBytes > sizeMaxBytes) {
      throw new EngineError("invalid-argument", "the Dockerfile on standard input is too long");
    }
    parts.push(next.value);
  }
  return Buffer.concat(parts);
}
