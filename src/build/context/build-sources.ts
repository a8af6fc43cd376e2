/** What a build reads from outside: its Dockerfile, its contexts, base images, files behind URLs. */
import { mkdirSync } from "node:fs";
import { join, posix } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import { parseIgnore } from "../../lib/pattern/ignore-patterns.ts";
import { redactText } from "../../lib/redact.ts";
import { type Digest, digestHex, digestOf } from "../../oci/digest.ts";
import { formatPlatform, hostPlatform, type Platform } from "../../oci/platform.ts";
import { findReference, formatReference, withDefaultTag } from "../../oci/reference.ts";
import type { BuildRequest, ContextFolder, ContextSource } from "../build-service.ts";
import { BaseImages, type FoundImage } from "./base-images.ts";
import { readInFolder, scopedFolder } from "./_context-files.ts";
import { fetchGit } from "./_git-agent.ts";
import { clearIgnored } from "./_clear-ignored.ts";
import { dockerfileBytesMax } from "../dockerfile/limits.ts";
import type { BuildServiceOptions, BuildWork } from "../environment.ts";
import { placed } from "../failure.ts";
import type { GraphSources, NamedBase } from "../graph/graph.ts";
import { imageStep, makeStep } from "../graph/make-step.ts";
import { remoteStep } from "./_remote-step.ts";
import type { Progress, VertexProgress } from "../progress/progress.ts";
import type { Material } from "../attestation/provenance.ts";
import { parseContextUrl } from "../source/context-url.ts";
import type { GitFolder, HttpFile } from "../source/source.ts";
import type { OpenedContext, Step } from "../step.ts";

/** Of a commit that is named by sha256. */
const sha256Digits = 64;
/** Largest .dockerignore. */
const ignoreFileMaxBytes = 1024 * 1024;

/** Name of the Dockerfile unless the request names another. */
export const dockerfileNameDefault = "Dockerfile";

/** The sources of one build. Closing it gives back the folders. */
export class BuildSources implements AsyncDisposable {
  readonly #options: BuildServiceOptions;
  readonly #request: BuildRequest;
  readonly #progress: Progress;
  readonly #signal: AbortSignal;
  readonly #close = new AsyncDisposableStack();
  readonly #images: BaseImages;
  readonly #named = new Map<string, Promise<NamedBase | undefined>>();
  /** What the Dockerfile asks of the main context; the whole when it has `/`. */
  readonly #wantedPaths = new Set<string>();
  #mainStep: Step | undefined;
  #mainFolder: Promise<string> | undefined;
  #ignored: readonly string[] = [];

  constructor(options: BuildServiceOptions, build: BuildWork) {
    this.#options = options;
    this.#request = build.request;
    this.#progress = build.progress;
    this.#signal = build.signal;
    this.#images = new BaseImages(options, build);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A folder that comes too late to be of use is given back all the same.
    await Promise.allSettled(this.#ignoreFolder === undefined ? [] : [this.#ignoreFolder]);
    await this.#close.disposeAsync();
  }

  /** Reads the Dockerfile, and the patterns that belong to it or to the context. */
  async readDockerfile(): Promise<Uint8Array> {
    const name = this.#request.dockerfileName ?? dockerfileNameDefault;
    const { main, dockerfileFrom: from = main } = this.#request;
    if (isImageKind(main)) this.#mainImage = await this.#imageOfContext("context", main);
    const bytes = await this.#progress.during(
      `[internal] load build definition from ${posix.basename(name)}`,
      async (vertex) => {
        this.#dockerfileVertex = vertex.digest;
        if (isImageKind(from)) return await this.#dockerfileOfImage(name);
        // Asked for at the same time: mostly it is needed, and a client may be far away.
        if (main.kind === "local") this.#fetchIgnoreFile(main, vertex).catch(() => undefined);
        const folder = await this.#open(from, {
          followPaths: [name, `${name}.dockerignore`],
          vertex,
        });
        this.#dockerfileFolder = folder;
        const id = "transferring dockerfile:";
        const found = readInFolder(folder, { path: name, sizeMaxBytes: dockerfileBytesMax });
        if (found === undefined) {
          throw new EngineError(
            "not-found",
            `failed to read dockerfile: open ${posix.basename(name)}: no such file or directory`,
          );
        }
        vertex.status({ id, current: found.length, isCompleted: true });
        this.#ownIgnored = readInFolder(folder, {
          path: `${name}.dockerignore`,
          sizeMaxBytes: ignoreFileMaxBytes,
        });
        return found;
      },
    );
    return bytes;
  }

  #mainImage: FoundImage | undefined;

  /** The image that is a context, of the platform that is built first. */
  async #imageOfContext(name: string, source: ContextSource): Promise<FoundImage> {
    const platform = this.#request.platforms[0] ?? hostPlatform();
    if (source.kind === "image") return await this.#images.image(source.reference, platform);
    if (source.kind === "oci-layout")
      return await this.#images.layoutImage(name, { source, platform });
    throw new EngineError("internal", `the context ${name} is no image`);
  }

  async #dockerfileOfImage(name: string): Promise<Uint8Array> {
    const { snapshots, copier } = this.#options;
    const chainId = this.#mainImage?.image.chainId;
    const found =
      chainId === undefined
        ? undefined
        : await copier.readFile(
            { kind: "snapshot", mount: snapshots.mounts(chainId) },
            { path: name, sizeMaxBytes: dockerfileBytesMax, signal: this.#signal },
          );
    if (found !== undefined) return found;
    throw new EngineError(
      "not-found",
      `failed to read dockerfile: open ${posix.basename(name)}: no such file or directory`,
    );
  }

  #dockerfileFolder: string | undefined;

  /** Names the context, the same from build to build. */
  get contextName(): string {
    const { main, outputs } = this.#request;
    if (main.kind === "git" || main.kind === "http") return main.url;
    // A client's folder is found again, in one of several copies; a tar has nothing but its target.
    if (main.kind === "local") return (this.#dockerfileFolder ?? "").replace(/-\d+$/, "");
    return JSON.stringify(outputs.flatMap((output) => ("names" in output ? output.names : [])));
  }

  #ownIgnored: Uint8Array | undefined;
  #dockerfileVertex: Digest | undefined;

  /** The vertex that read the Dockerfile: what warnings belong to. */
  get dockerfileVertex(): Digest | undefined {
    return this.#dockerfileVertex;
  }

  /** Patterns of .dockerignore, once they are read. */
  get ignored(): readonly string[] {
    return this.#ignored;
  }

  /** Reads .dockerignore; after the Dockerfile, whose own one goes first. */
  async readIgnored(): Promise<void> {
    const { main } = this.#request;
    if (isImageKind(main) || main.kind === "stage") return;
    const bytes = await this.#progress.during("[internal] load .dockerignore", async (vertex) => {
      if (this.#ownIgnored !== undefined) return this.#ownIgnored;
      const opened = await this.#fetchIgnoreFile(main, vertex);
      const folder = scopedFolder(opened, this.#request);
      const found = readInFolder(folder, {
        path: ".dockerignore",
        sizeMaxBytes: ignoreFileMaxBytes,
      });
      const current = found?.length ?? 2;
      vertex.status({ id: "transferring context:", current, isCompleted: true });
      return found;
    });
    if (bytes !== undefined) this.#ignored = parseIgnore(new TextDecoder().decode(bytes));
  }

  #ignoreFolder: Promise<string> | undefined;

  /** Brings the context's .dockerignore here, once. @returns the folder that it is in */
  async #fetchIgnoreFile(main: ContextSource, vertex: VertexProgress): Promise<string> {
    this.#ignoreFolder ??= this.#open(main, { followPaths: [".dockerignore"], vertex });
    return await this.#ignoreFolder;
  }

  /** The sources of a graph. */
  get forGraph(): GraphSources {
    return {
      image: async (reference, { platform, location }) => {
        try {
          return await this.#images.image(reference, platform);
        } catch (error) {
          throw placed(error, location);
        }
      },
      mainContext: ({ paths }) => this.#mainContext(paths),
      namedContext: async (name, { platform }) => await this.#namedContext(name, platform),
      remote: (url, options) =>
        remoteStep({
          ...options,
          url,
          sources: this.#options.sources,
          client: this.#request.client,
          signal: this.#signal,
          keep: (folder) => {
            this.#close.use(folder);
            this.#noteMaterial(url, folder);
          },
        }),
    };
  }

  #mainContext(paths: readonly string[]): Step {
    for (const path of paths) this.#wantedPaths.add(path);
    const { main } = this.#request;
    if (this.#mainImage !== undefined) {
      const name = `FROM ${this.#mainImage.shownName}`;
      this.#mainStep ??= imageStep(this.#mainImage, { name, platform: hostPlatform() });
    }
    this.#mainStep ??= makeStep({
      action: {
        kind: "context",
        context: {
          id: "main",
          open: async ({ vertex }) => {
            this.#mainFolder ??= this.#openMain(vertex);
            const path = await this.#mainFolder;
            return { path, ...this.#keptOf(main, path) };
          },
        },
      },
      name:
        main.kind === "git" || main.kind === "http"
          ? `[internal] load remote build context`
          : "[internal] load build context",
      description: "local source for context",
      reads: [],
      isCacheIgnored: false,
      platform: hostPlatform(),
    });
    return this.#mainStep;
  }

  /** A client's folder stays where it is, so that only what changed need be hashed again. */
  #keptOf(source: ContextSource, path: string): Omit<OpenedContext, "path"> {
    if (source.kind !== "local") return {};
    const folder = join(this.#options.dataRoot, "build", "hashes");
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const opened = this.#opened.get(path);
    return {
      hashCachePath: join(folder, digestHex(digestOf(path)).slice(0, 32)),
      hasChanged: (file) => opened?.hasChanged?.(file) === true,
    };
  }

  /** The client's folders of this build, by path. */
  readonly #opened = new Map<string, ContextFolder>();

  async #openMain(vertex: VertexProgress): Promise<string> {
    const paths = [...this.#wantedPaths].map((path) => posix.join("/", path).slice(1));
    const isWhole = paths.some((path) => path === "");
    const { main } = this.#request;
    const opened = await this.#open(main, {
      excludes: this.#ignored,
      ...(isWhole ? {} : { followPaths: paths }),
      vertex,
      isShown: true,
    });
    const folder = scopedFolder(opened, this.#request);
    // What a client leaves out by itself, is taken out here of a folder that came whole.
    if (main.kind !== "local") clearIgnored(folder, this.#ignored);
    return folder;
  }

  async #open(
    source: ContextSource,
    how: {
      readonly excludes?: readonly string[];
      readonly followPaths?: readonly string[];
      readonly vertex: VertexProgress;
      /** Whether how much has come is shown. */
      readonly isShown?: boolean;
    },
  ): Promise<string> {
    const { client } = this.#request;
    const signal = this.#signal;
    switch (source.kind) {
      case "folder":
        return source.path;
      case "local": {
        const folder = await client.folder({
          name: source.name,
          excludes: how.excludes ?? [],
          ...(how.followPaths === undefined ? {} : { followPaths: how.followPaths }),
          ...(how.isShown === true ? { onProgress: shownTransfer(how.vertex) } : {}),
          signal,
        });
        this.#close.use(folder);
        this.#opened.set(folder.path, folder);
        return folder.path;
      }
      case "git":
      case "http":
        return await this.#fetch(source.url);
      case "image":
      case "oci-layout":
      case "stage":
        throw new EngineError(
          "not-implemented",
          `a context of the kind ${source.kind} is not read as a folder yet`,
        );
    }
  }

  readonly #materials = new Map<string, Material>();

  /** Repositories and files that have been fetched so far, without secrets. */
  get materials(): readonly Material[] {
    return [...this.#materials.values()];
  }

  #noteMaterial(url: string, folder: GitFolder | HttpFile): void {
    const uri = redactText(url);
    if ("digest" in folder) this.#materials.set(uri, { uri, digest: folder.digest });
    else {
      const algorithm = folder.commit.length === sha256Digits ? "sha256" : "sha1";
      this.#materials.set(uri, { uri, digest: `${algorithm}:${folder.commit}` });
    }
  }

  readonly #fetched = new Map<string, Promise<string>>();

  /** A repository or archive; fetched once. */
  async #fetch(url: string): Promise<string> {
    const known = this.#fetched.get(url);
    if (known !== undefined) return await known;
    const fetched = this.#fetchNow(url);
    this.#fetched.set(url, fetched);
    return await fetched;
  }

  async #fetchNow(url: string): Promise<string> {
    const { sources } = this.#options;
    const parsed = parseContextUrl(url);
    const secret = async (id: string): Promise<Uint8Array | undefined> =>
      await this.#request.client.secret(id);
    const signal = this.#signal;
    const folder =
      parsed?.kind === "git"
        ? await fetchGit(
            { sources, client: this.#request.client },
            {
              source: parsed,
              keepsGitDir: this.#request.args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR") === "1",
              signal,
            },
          )
        : await sources.fetchHttpContext({ url, secret, signal });
    this.#close.use(folder);
    if ("commit" in folder) this.#noteMaterial(url, folder);
    return folder.path;
  }

  async #namedContext(name: string, platform: Platform): Promise<NamedBase | undefined> {
    const source = this.#findContext(name);
    if (source === undefined) return undefined;
    const key = `${name.toLowerCase()} ${formatPlatform(platform)}`;
    const known = this.#named.get(key);
    if (known !== undefined) return await known;
    const found = this.#openNamed(name, { source, platform });
    this.#named.set(key, found);
    return await found;
  }

  #findContext(name: string): ContextSource | undefined {
    const { contexts } = this.#request;
    if (contexts.size === 0) return undefined;
    const reference = findReference(name);
    const whole = reference === undefined ? name : formatReference(withDefaultTag(reference));
    return contexts.get(name.toLowerCase()) ?? contexts.get(name) ?? contexts.get(whole);
  }

  async #openNamed(
    name: string,
    how: { readonly source: ContextSource; readonly platform: Platform },
  ): Promise<NamedBase | undefined> {
    const { source, platform } = how;
    switch (source.kind) {
      case "image":
        return { kind: "image", ...(await this.#images.image(source.reference, platform)) };
      case "stage":
        return { kind: "stage", name: source.name };
      case "oci-layout":
        return { kind: "image", ...(await this.#images.layoutImage(name, { source, platform })) };
      case "local":
      case "folder":
      case "git":
      case "http":
        return { kind: "step", step: this.#namedStep(name, source) };
    }
  }

  #namedStep(name: string, source: ContextSource): Step {
    let folder: Promise<string> | undefined;
    const open = async (vertex: VertexProgress): Promise<string> => {
      const ignored = source.kind === "local" ? await this.#ignoredOf(source, vertex) : [];
      return await this.#open(source, { excludes: ignored, vertex, isShown: true });
    };
    return makeStep({
      action: {
        kind: "context",
        context: {
          id: `named ${name}`,
          open: async ({ vertex }) => {
            folder ??= open(vertex);
            const path = await folder;
            return { path, ...this.#keptOf(source, path) };
          },
        },
      },
      name: `[context ${name}] load from client`,
      description: `local source for ${name}`,
      reads: [],
      isCacheIgnored: false,
      platform: hostPlatform(),
    });
  }

  async #ignoredOf(source: ContextSource, vertex: VertexProgress): Promise<readonly string[]> {
    const folder = await this.#open(source, { followPaths: [".dockerignore"], vertex });
    const bytes = readInFolder(folder, {
      path: ".dockerignore",
      sizeMaxBytes: ignoreFileMaxBytes,
    });
    return bytes === undefined ? [] : parseIgnore(new TextDecoder().decode(bytes));
  }
}

function isImageKind(source: ContextSource): boolean {
  return source.kind === "image" || source.kind === "oci-layout";
}

/** Shows how much of a context has come. */
function shownTransfer(vertex: VertexProgress): (currentBytes: number) => void {
  return (current) => vertex.status({ id: "transferring context:", current });
}
