import { createHash } from "node:crypto";
import {
  chmodSync,
  createWriteStream,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from "node:fs";
import { join } from "node:path";
import { codeOf, EngineError } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import { KeyedMutex } from "../../lib/concurrency/keyed-mutex.ts";
import { limitSize } from "../../lib/stream-limit.ts";
import { createDigester, type Digest, isDigest } from "../../oci/digest.ts";
import type { HttpAnswer, HttpTransport } from "../../remote/transport/transport.ts";
import { removeTree, writeFileAtomic } from "../../sys/fs/fs.ts";
import { readSecret } from "./_git-command.ts";
import type { ScratchFolders } from "./_scratch-folders.ts";
import type { HttpFile, HttpRequest } from "./source.ts";

/** Redirects that one fetch follows, as Go's client. */
const redirectsMax = 10;
/** Largest file that is fetched. */
export const httpSizeMaxBytes: number = 16 * 1024 ** 3;
const secretHeaders: ReadonlySet<string> = new Set(["authorization", "if-none-match"]);

/** What is known of a file that was fetched before. */
interface Stored {
  readonly digest: Digest;
  readonly etag: string;
  readonly lastModifiedMs: number;
  readonly contentType: string;
}

/** Files fetched before, by URL, with what tells whether they are still the same. */
export class HttpFiles {
  readonly #root: string;
  readonly #scratch: ScratchFolders;
  readonly #transport: HttpTransport;
  readonly #sizeMaxBytes: number;
  readonly #locks = new KeyedMutex();

  constructor(options: {
    readonly root: string;
    readonly scratch: ScratchFolders;
    readonly transport: HttpTransport;
    readonly sizeMaxBytes?: number;
  }) {
    this.#root = options.root;
    this.#scratch = options.scratch;
    this.#transport = options.transport;
    this.#sizeMaxBytes = options.sizeMaxBytes ?? httpSizeMaxBytes;
    mkdirSync(this.#root, { recursive: true, mode: 0o700 });
  }

  /** See `Sources.fetchHttp`. */
  async fetch(request: HttpRequest): Promise<HttpFile> {
    const url = parseHttpUrl(request.url);
    const authorization = await authorizationFor(url, request);
    // With other credentials the same URL may be another file.
    const key = createHash("sha256")
      .update(`${url.href}\n${authorization ?? ""}`)
      .digest("hex");
    return this.#locks.run(key, () => this.#fetchKey(url, { request, key, authorization }));
  }

  async #fetchKey(
    url: URL,
    options: {
      readonly request: HttpRequest;
      readonly key: string;
      readonly authorization: string | undefined;
    },
  ): Promise<HttpFile> {
    const { request, key, authorization } = options;
    const folder = join(this.#root, key);
    const stored = readStored(folder);
    // A file that is the one that was asked for need not be asked for again.
    if (stored !== undefined && stored.digest === request.checksum) {
      return this.#give(url, { folder, stored });
    }
    const answer = await this.#send(url, {
      request,
      headers: {
        ...(authorization === undefined ? {} : { authorization }),
        ...(stored === undefined || stored.etag === "" ? {} : { "if-none-match": stored.etag }),
      },
    });
    try {
      if (answer.status === 304 && stored !== undefined) {
        checkDigest(stored.digest, request);
        return this.#give(url, { folder, stored });
      }
      if (answer.status < 200 || answer.status >= 400) {
        const sentence = `failed to load cache key: invalid response status ${answer.status}`;
        const kind = answer.status === 404 ? "not-found" : "unavailable";
        throw new EngineError(kind, sentence, { details: { status: answer.status } });
      }
      const fresh = await this.#receive(answer, { request, folder });
      return this.#give(url, { folder, stored: fresh });
    } finally {
      answer.close();
    }
  }

  /** Forgets all files; tells how many bytes they were. */
  async prune(): Promise<number> {
    let sizeBytes = 0;
    for (const name of readdirSync(this.#root)) {
      const folder = join(this.#root, name);
      await this.#locks.run(name, async () => {
        for (const file of readdirSync(folder)) {
          sizeBytes += statSync(join(folder, file), { throwIfNoEntry: false })?.size ?? 0;
        }
        await removeTree(folder);
      });
    }
    return sizeBytes;
  }

  async #send(
    first: URL,
    options: { readonly request: HttpRequest; readonly headers: Readonly<Record<string, string>> },
  ): Promise<HttpAnswer> {
    const { signal } = options.request;
    let { headers } = options;
    let url = first;
    for (let hop = 0; ; hop += 1) {
      const answer = await this.#transport.send({ method: "GET", url, headers, signal });
      const location = answer.header("location");
      if (location === undefined || ![301, 302, 303, 307, 308].includes(answer.status))
        return answer;
      answer.close();
      if (hop === redirectsMax) {
        throw new EngineError("unavailable", `stopped after ${redirectsMax} redirects`);
      }
      const next = parseHttpUrl(URL.parse(location, url.href)?.href ?? location);
      if (next.origin !== first.origin) {
        const open = Object.entries(headers).filter(([name]) => !secretHeaders.has(name));
        headers = Object.fromEntries(open);
      }
      url = next;
    }
  }

  async #receive(
    answer: HttpAnswer,
    options: { readonly request: HttpRequest; readonly folder: string },
  ): Promise<Stored> {
    const { request, folder } = options;
    const lastModified = Date.parse(answer.header("last-modified") ?? "");
    const lastModifiedMs = Number.isNaN(lastModified) || lastModified < 0 ? 0 : lastModified;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const temporary = join(folder, `part-${createId()}`);
    try {
      const digest = await this.#write(answer, { request, path: temporary });
      checkDigest(digest, request);
      // Docker: mode 0600, and the start of 1970 when the server tells no time, seen in BuildKit.
      chmodSync(temporary, 0o600);
      utimesSync(temporary, lastModifiedMs / 1000, lastModifiedMs / 1000);
      // A file of that content may be in use, with another time: it is replaced, never changed.
      renameSync(temporary, join(folder, contentName(digest)));
      const stored: Stored = {
        digest,
        etag: answer.header("etag") ?? "",
        lastModifiedMs,
        contentType:
          (answer.header("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "",
      };
      writeFileAtomic(join(folder, "stored.json"), JSON.stringify(stored), { durable: false });
      for (const name of readdirSync(folder)) {
        const isOld = name.startsWith("sha256-") && name !== contentName(digest);
        if (isOld) rmSync(join(folder, name), { force: true });
      }
      return stored;
    } finally {
      rmSync(temporary, { force: true });
    }
  }

  async #write(
    answer: HttpAnswer,
    options: { readonly request: HttpRequest; readonly path: string },
  ): Promise<Digest> {
    const { request, path } = options;
    const length = Number(answer.header("content-length") ?? Number.NaN);
    const totalBytes = Number.isSafeInteger(length) ? length : undefined;
    const limit = { sizeMaxBytes: this.#sizeMaxBytes, what: "fetch file" };
    if ((totalBytes ?? 0) > limit.sizeMaxBytes) {
      throw new EngineError(
        "invalid-argument",
        `fetch file: more than ${limit.sizeMaxBytes} bytes`,
      );
    }
    const digester = createDigester(request.checksum);
    const file = createWriteStream(path, { flags: "wx", mode: 0o600 });
    const failed = Promise.withResolvers<never>();
    failed.promise.catch(() => undefined);
    file.on("error", failed.reject);
    let currentBytes = 0;
    try {
      for await (const chunk of limitSize(answer.body(), limit)) {
        digester.update(chunk);
        currentBytes += chunk.length;
        request.onProgress?.(currentBytes, totalBytes);
        if (!file.write(chunk)) await Promise.race([once(file, "drain"), failed.promise]);
      }
      file.end();
      await Promise.race([once(file, "close"), failed.promise]);
    } finally {
      file.destroy();
    }
    if (totalBytes !== undefined && totalBytes !== currentBytes) {
      throw new EngineError(
        "unavailable",
        `fetch file: ${currentBytes} of ${totalBytes} bytes came`,
      );
    }
    return digester.digest();
  }

  #give(url: URL, file: { readonly folder: string; readonly stored: Stored }): HttpFile {
    const { folder, stored } = file;
    const scratch = this.#scratch.make();
    const name = nameOf(url);
    const path = join(scratch.path, name);
    linkSync(join(folder, contentName(stored.digest)), path);
    return {
      ...scratch,
      name,
      digest: stored.digest,
      sizeBytes: statSync(path).size,
      lastModifiedMs: stored.lastModifiedMs,
      contentType: stored.contentType,
    };
  }
}

async function once(
  file: ReturnType<typeof createWriteStream>,
  event: "drain" | "close",
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  file.once(event, () => resolve());
  await promise;
}

function contentName(digest: Digest): string {
  return digest.replace(":", "-");
}

/** Docker: the last part of the URL's path, whatever the server calls the file; seen in BuildKit. */
function nameOf(url: URL): string {
  const part = url.pathname.split("/").findLast((one) => one !== "") ?? "";
  const name = decodePart(part);
  const isName = name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name);
  return isName && Buffer.byteLength(name) <= 255 ? name : "__unnamed__";
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    if (error instanceof URIError) return part;
    throw error;
  }
}

function parseHttpUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new EngineError("invalid-argument", "fetch file: no http or https URL");
  }
  return url;
}

async function authorizationFor(url: URL, request: HttpRequest): Promise<string | undefined> {
  const { secret } = request;
  if (url.username !== "" || url.password !== "") {
    const pair = `${decodePart(url.username)}:${decodePart(url.password)}`;
    url.username = "";
    url.password = "";
    return `Basic ${Buffer.from(pair).toString("base64")}`;
  }
  if (secret === undefined) return undefined;
  const header = await readSecret(`HTTP_AUTH_HEADER_${url.host}`, secret);
  if (header !== undefined) return header;
  const token = await readSecret(`HTTP_AUTH_TOKEN_${url.host}`, secret);
  return token === undefined ? undefined : `Bearer ${token}`;
}

function checkDigest(digest: Digest, request: HttpRequest): void {
  if (request.checksum === undefined || request.checksum === digest) return;
  throw new EngineError("invalid-argument", `digest mismatch ${digest}: ${request.checksum}`);
}

function readStored(folder: string): Stored | undefined {
  try {
    const fields = Object(JSON.parse(readFileSync(join(folder, "stored.json"), "utf8"))) as Partial<
      Record<keyof Stored, unknown>
    >;
    const { digest, etag, lastModifiedMs, contentType } = fields;
    const isSound =
      typeof digest === "string" &&
      isDigest(digest) &&
      typeof etag === "string" &&
      typeof lastModifiedMs === "number" &&
      typeof contentType === "string";
    if (!isSound) return undefined;
    const isThere = statSync(join(folder, contentName(digest)), { throwIfNoEntry: false });
    return isThere === undefined ? undefined : { digest, etag, lastModifiedMs, contentType };
  } catch (error) {
    // Missing, or cut by a crash: it is fetched again.
    if (codeOf(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
