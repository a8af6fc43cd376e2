import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { BlobInfo, Ingest } from "../../content/content-store.ts";
import { codeOf, isKind } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import { KeyedMutex } from "../../lib/concurrency/keyed-mutex.ts";
import { type ByteSource, chunksOf } from "../../lib/stream-limit.ts";
import type { Metadata, Table } from "../../metadata/metadata.ts";
import type { Digest } from "../../oci/digest.ts";
import { type RegistryContext, withDigest } from "./_context.ts";
import { type UploadRecord, uploadTable } from "./_records.ts";
import { refusal } from "../errors.ts";
import { formatUploadRange } from "../ranges.ts";
import type { Chunk, UploadName, UploadStatus } from "../registry.ts";

/** Uploads there may be at once. */
const uploadsMax = 2_000;
/** An upload that nobody has written to for so long gives back its file handle. */
const idleMaxMs = 5 * 60_000;
/** An upload that never got a byte is forgotten after so long. */
const emptyMaxMs = 60 * 60_000;
/** An upload without a byte gives its place to another after so long, when all places are taken. */
const placeMaxMs = 60_000;
/** A request that has brought no byte for so long gives way to the next one for its upload. */
const stalledMaxMs = 10_000;
/** How often the next one looks. */
const stalledPeriodMs = 1_000;
/** Hexadecimal digits of an upload's id. */
const idLength = 32;

interface Session {
  readonly id: string;
  readonly repository: string;
  readonly startedMs: number;
  touchedMs: number;
  sizeBytes: number;
  /** Open while somebody writes; laid aside when idle. */
  ingest: Ingest | undefined;
  /** Whether its record is in the database. */
  isStored: boolean;
  /** The request that brings bytes now. */
  writer?: Writer | undefined;
}

/** A request that brings bytes. */
interface Writer {
  movedMs: number;
  readonly stop: (cause: Error) => void;
}

/** The uploads of one registry. Chunks of one upload are taken one at a time. */
export class Uploads {
  readonly #context: RegistryContext;
  readonly #records: Table<UploadRecord>;
  readonly #sessions = new Map<string, Session>();
  readonly #turns = new KeyedMutex();

  constructor(context: RegistryContext, metadata: Metadata) {
    this.#context = context;
    this.#records = metadata.table(uploadTable);
    for (const [id, { repository, startedMs }] of this.#records.list()) {
      this.#sessions.set(id, {
        id,
        repository,
        startedMs,
        touchedMs: context.nowMs(),
        sizeBytes: 0,
        ingest: undefined,
        isStored: true,
      });
    }
  }

  get count(): number {
    return this.#sessions.size;
  }

  /** Looks how far the uploads are that an earlier process left; to be called once, at the start. */
  async measure(): Promise<void> {
    for (const session of this.#sessions.values()) {
      this.#grow(
        session,
        await sizeOf(join(this.#context.content.root, "ingest", refOf(session.id))),
      );
    }
  }

  /** Names of the unfinished writes that are uploads to be resumed. */
  refs(): ReadonlySet<string> {
    return new Set([...this.#sessions.values()].map(({ id }) => refOf(id)));
  }

  start(repository: string): UploadStatus {
    if (this.#sessions.size >= uploadsMax) this.#makePlace();
    if (this.#sessions.size >= uploadsMax) {
      throw refusal("TOOMANYREQUESTS", {
        message: `there are ${uploadsMax} uploads under way: finish or cancel one`,
        headers: { "Retry-After": "60" },
      });
    }
    this.#context.quota.admit(repository, { sizeBytes: 0 });
    const id = createId().slice(0, idLength);
    const nowMs = this.#context.nowMs();
    const times = { startedMs: nowMs, touchedMs: nowMs };
    this.#sessions.set(id, {
      id,
      repository,
      ...times,
      sizeBytes: 0,
      ingest: undefined,
      isStored: false,
    });
    return { id, sizeBytes: 0 };
  }

  /** Waits for nobody: who asks may have lost a connection that is not known to be lost here. */
  status(name: UploadName): UploadStatus {
    const session = this.#get(name);
    session.touchedMs = this.#context.nowMs();
    return { id: session.id, sizeBytes: session.sizeBytes };
  }

  async append(name: UploadName, chunk: Chunk): Promise<UploadStatus> {
    return await this.#turn(name, async (session) => {
      const ingest = await this.#opened(session);
      checkRange(session, chunk);
      this.#store(session);
      await this.#write(session, { ingest, chunk });
      return { id: session.id, sizeBytes: session.sizeBytes };
    });
  }

  async finish(name: UploadName, options: Chunk & { readonly digest: Digest }): Promise<BlobInfo> {
    return await this.#turn(name, async (session) => {
      const { digest } = options;
      const ingest = await this.#opened(session, digest);
      checkRange(session, options);
      await this.#write(session, { ingest, chunk: options });
      try {
        return await withDigest(this.#context, digest, async () => {
          const blob = await ingest.commit({ expected: digest });
          this.#publish(session, blob);
          return blob;
        });
      } catch (error) {
        await this.#drop(session);
        if (!isKind(error, "data-loss")) throw error;
        throw refusal("DIGEST_INVALID", { detail: { digest }, cause: error });
      }
    });
  }

  async cancel(name: UploadName): Promise<void> {
    this.#get(name).writer?.stop(refusal("BLOB_UPLOAD_UNKNOWN"));
    await this.#turn(name, async (session) => await this.#drop(session));
  }

  /** Lays idle uploads aside and removes those that nobody has written to for `expiryMs`. */
  async tidy(expiryMs: number): Promise<void> {
    for (const session of [...this.#sessions.values()]) {
      const idleMs = this.#context.nowMs() - session.touchedMs;
      const limitMs = session.sizeBytes === 0 && !session.isStored ? emptyMaxMs : expiryMs;
      if (idleMs < Math.min(idleMaxMs, limitMs)) continue;
      await this.#turns.run(session.id, async () => {
        if (!this.#sessions.has(session.id)) return;
        if (this.#context.nowMs() - session.touchedMs < Math.min(idleMaxMs, limitMs)) return;
        if (idleMs >= limitMs) await this.#drop(session);
        else await this.#layAside(session);
      });
    }
  }

  /** Closes all files; what has bytes can be resumed by the next process. */
  async close(): Promise<void> {
    for (const session of [...this.#sessions.values()]) {
      await this.#turns.run(session.id, async () => await this.#layAside(session));
    }
  }

  /** Drops the first upload that nobody has sent a byte to for a while. */
  #makePlace(): void {
    const beforeMs = this.#context.nowMs() - placeMaxMs;
    for (const session of this.#sessions.values()) {
      if (session.isStored || session.ingest !== undefined || session.touchedMs > beforeMs)
        continue;
      this.#forget(session);
      return;
    }
  }

  /** An id is good in the repository it was given for alone. @throws BLOB_UPLOAD_UNKNOWN */
  #get({ id, repository }: UploadName): Session {
    const session = this.#sessions.get(id);
    if (session?.repository === repository) return session;
    throw refusal("BLOB_UPLOAD_UNKNOWN");
  }

  /** Runs `work` when nobody else writes to the upload; who only seems to is ended. */
  async #turn<T>(name: UploadName, work: (session: Session) => Promise<T>): Promise<T> {
    const waiting = this.#get(name);
    const timer = setInterval(() => this.#endStalled(waiting), stalledPeriodMs);
    try {
      return await this.#turns.run(name.id, async () => {
        clearInterval(timer);
        const session = this.#get(name);
        session.touchedMs = this.#context.nowMs();
        try {
          return await work(session);
        } finally {
          session.touchedMs = this.#context.nowMs();
        }
      });
    } finally {
      clearInterval(timer);
    }
  }

  #endStalled({ writer }: Session): void {
    if (writer === undefined || this.#context.nowMs() - writer.movedMs < stalledMaxMs) return;
    const message = "another request goes on with the upload, after nothing came by this one";
    writer.stop(refusal("BLOB_UPLOAD_INVALID", { message, status: 409 }));
  }

  async #opened(session: Session, expected?: Digest): Promise<Ingest> {
    if (session.ingest !== undefined) return session.ingest;
    const ingest = await this.#context.content.ingest({
      ref: refOf(session.id),
      resume: session.isStored,
      ...(expected === undefined ? {} : { expected }),
    });
    this.#grow(session, ingest.sizeBytes - session.sizeBytes);
    session.ingest = ingest;
    return ingest;
  }

  async #write(
    session: Session,
    { ingest, chunk }: { readonly ingest: Ingest; readonly chunk: Chunk },
  ): Promise<void> {
    const { quota, nowMs } = this.#context;
    const { repository } = session;
    const stopped = new AbortController();
    const writer: Writer = { movedMs: nowMs(), stop: (cause) => stopped.abort(cause) };
    session.writer = writer;
    try {
      // What is announced is not taken before it is known to be too much.
      const announced = { sizeBytes: chunk.sizeBytes ?? 0 };
      await this.#orDrop(session, () => quota.admit(repository, announced));
      for await (const bytes of untilAborted(chunk.body, stopped.signal)) {
        // A refused upload would hold what the quota leaves, and the file of a failed write ends in
        // the middle of a chunk: nobody could go on with either.
        await this.#orDrop(session, async () => {
          quota.admit(repository, { sizeBytes: bytes.byteLength });
          await ingest.write(bytes);
        });
        this.#grow(session, bytes.byteLength);
        writer.movedMs = nowMs();
        session.touchedMs = writer.movedMs;
      }
    } finally {
      session.writer = undefined;
    }
  }

  /** Runs `work`; when it fails the upload is gone. */
  async #orDrop(session: Session, work: () => Promise<void> | void): Promise<void> {
    try {
      await work();
    } catch (error) {
      await this.#drop(session);
      throw error;
    }
  }

  #grow(session: Session, deltaBytes: number): void {
    session.sizeBytes += deltaBytes;
    this.#context.quota.count(session.repository, deltaBytes);
  }

  /** Makes the upload known to the next process. */
  #store(session: Session): void {
    if (session.isStored) return;
    const { id, repository, startedMs } = session;
    this.#records.put(id, { repository, startedMs });
    session.isStored = true;
  }

  /** Makes the blob visible, and the upload no more, in one step. */
  #publish(session: Session, blob: BlobInfo): void {
    const { id, repository } = session;
    const { digest, sizeBytes } = blob;
    const record = { sizeBytes, addedMs: this.#context.nowMs() };
    this.#context.catalog.apply([{ kind: "put-blob", repository, digest, record }], () => {
      if (session.isStored) this.#records.remove(id);
    });
    this.#context.holds.hold(repository, digest);
    this.#forget(session);
  }

  async #layAside(session: Session): Promise<void> {
    const { ingest } = session;
    if (ingest === undefined) return;
    if (!session.isStored) return await this.#drop(session);
    session.ingest = undefined;
    await ingest.suspend();
  }

  async #drop(session: Session): Promise<void> {
    this.#forget(session);
    if (session.ingest !== undefined) {
      await session.ingest[Symbol.asyncDispose]();
    } else if (session.isStored) {
      await using left = await this.#context.content.ingest({ ref: refOf(session.id) });
      await left[Symbol.asyncDispose]();
    }
    if (session.isStored) this.#records.remove(session.id);
  }

  #forget(session: Session): void {
    if (!this.#sessions.delete(session.id)) return;
    this.#context.quota.count(session.repository, -session.sizeBytes);
  }
}

/** Passes on what comes until it is told to stop, though it waits for more. @throws the signal's reason */
async function* untilAborted(
  source: ByteSource,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const chunks = chunksOf(source);
  try {
    for (;;) {
      signal.throwIfAborted();
      const next = await new Promise<IteratorResult<Uint8Array, void>>((resolve, reject) => {
        const stop = (): void => reject(signal.reason);
        signal.addEventListener("abort", stop);
        const settle = (): void => signal.removeEventListener("abort", stop);
        chunks.next().then(resolve, reject).finally(settle);
      });
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    // Not waited for: it waits for the chunk that does not come.
    chunks.return().catch(() => undefined);
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return 0;
    throw error;
  }
}

function refOf(id: string): string {
  return `upload-${id}`;
}

function checkRange(session: Session, chunk: Chunk): void {
  const { range, sizeBytes } = chunk;
  if (range === undefined) return;
  if (range.first !== session.sizeBytes || range.last < range.first) {
    throw refusal("RANGE_INVALID", {
      message: `the upload has ${session.sizeBytes} bytes: the chunk must begin there`,
      headers: { Range: formatUploadRange(session.sizeBytes), "Docker-Upload-UUID": session.id },
    });
  }
  if (sizeBytes !== undefined && sizeBytes !== range.last - range.first + 1) {
    throw refusal("SIZE_INVALID");
  }
}
