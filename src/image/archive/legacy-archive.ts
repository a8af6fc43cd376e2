/**
 * Archives of Docker before 1.10: a folder a layer with `VERSION`, `json` and `layer.tar`, and
 * `repositories` with the names, if there are any. Each becomes an image with a config of today.
 *
 * @see docker image spec v1, "Combined Image JSON + Filesystem Changeset Format"
 */
import type { ContentStore } from "../../content/content-store.ts";
import { decompress } from "../../lib/compression/compression.ts";
import { EngineError } from "../../lib/errors.ts";
import { createDigester, type Digest } from "../../oci/digest.ts";
import { decodeRepositories } from "../../oci/docker-archive.ts";
import { imageConfigMaxBytes } from "../../oci/image-config.ts";
import { compressionOf, type LoadedArchive } from "./load-archive.ts";

/** Images that one may stand on another. */
const parentCountMax = 500;

/** An image of an old archive. */
export interface LegacyImage {
  /** Digest of the config that was made for it. */
  readonly config: Digest;
  /** Bottom first. */
  readonly layers: readonly Digest[];
  /** As `repository:tag`. */
  readonly names: readonly string[];
}

/** Whether an archive has such folders. */
export function isLegacyArchive({ paths }: LoadedArchive): boolean {
  return paths.some((path) => jsonForm.test(path));
}

/**
 * Finds the images, and stores configs for them: those with names, and those that no other stands on.
 *
 * @param source.repositories absent from what was saved by ID
 * @throws invalid-argument for half an image
 */
export async function findLegacyImages(
  content: ContentStore,
  source: {
    readonly archive: LoadedArchive;
    readonly repositories?: Uint8Array;
    /** Keeps the configs. */
    readonly hold: (digest: Digest) => void;
  },
): Promise<readonly LegacyImage[]> {
  const names = new Map<string, string[]>();
  const { repositories } = source;
  const named = repositories === undefined ? {} : decodeRepositories(repositories);
  for (const [repository, tags] of Object.entries(named)) {
    for (const [tag, id] of Object.entries(tags)) {
      names.set(id, [...(names.get(id) ?? []), `${repository}:${tag}`]);
    }
  }
  const reader = new LegacyReader(content, source);
  for (const id of await reader.tops()) if (!names.has(id)) names.set(id, []);
  const images: LegacyImage[] = [];
  for (const [id, ownNames] of names) images.push(await reader.read(id, ownNames));
  return images;
}

/** Where an image is described. */
const jsonForm = /^([0-9a-f]{64})\/json$/;

type Json = Readonly<Record<string, unknown>>;

interface LegacyLayer {
  readonly json: Json;
  readonly blob: Digest;
  readonly diffId: Digest;
}

class LegacyReader {
  readonly #content: ContentStore;
  readonly #archive: LoadedArchive;
  readonly #hold: (digest: Digest) => void;
  readonly #layers = new Map<string, LegacyLayer>();

  constructor(
    content: ContentStore,
    source: { readonly archive: LoadedArchive; readonly hold: (digest: Digest) => void },
  ) {
    this.#content = content;
    this.#archive = source.archive;
    this.#hold = source.hold;
  }

  /** The IDs of images that none of the archive has as its parent. */
  async tops(): Promise<readonly string[]> {
    const ids = this.#archive.paths.flatMap((path) => jsonForm.exec(path)?.[1] ?? []);
    const parents = new Set<string>();
    for (const id of ids) parents.add(textOf(await this.#json(id), "parent"));
    return ids.filter((id) => !parents.has(id));
  }

  async read(id: string, names: readonly string[]): Promise<LegacyImage> {
    const stack: LegacyLayer[] = [];
    for (let at: string | undefined = id; at !== undefined; ) {
      if (stack.length >= parentCountMax) {
        throw new EngineError("invalid-argument", `the image ${id} has too many parents`);
      }
      const layer = await this.#layer(at);
      stack.unshift(layer);
      at = textOf(layer.json, "parent") || undefined;
    }
    const top = stack.at(-1);
    const config = Buffer.from(JSON.stringify(configOf(top?.json ?? {}, stack)));
    const { digest } = await this.#content.put(config, { hold: this.#hold });
    return { config: digest, layers: stack.map((layer) => layer.blob), names };
  }

  async #layer(id: string): Promise<LegacyLayer> {
    const known = this.#layers.get(id);
    if (known !== undefined) return known;
    if (!/^[0-9a-f]{64}$/.test(id)) {
      throw new EngineError("invalid-argument", `the archive names an image ${JSON.stringify(id)}`);
    }
    const blob = this.#archive.blobOf(`${id}/layer.tar`);
    const layer: LegacyLayer = {
      json: await this.#json(id),
      blob,
      diffId: await this.#diffId(blob),
    };
    this.#layers.set(id, layer);
    return layer;
  }

  async #json(id: string): Promise<Json> {
    const digest = this.#archive.blobOf(`${id}/json`);
    const bytes = await this.#content.read(digest, { sizeMaxBytes: imageConfigMaxBytes });
    try {
      const value: unknown = JSON.parse(Buffer.from(bytes).toString());
      if (typeof value === "object" && value !== null) return { ...value };
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
    throw new EngineError("invalid-argument", `the archive's ${id}/json is no JSON object`);
  }

  async #diffId(blob: Digest): Promise<Digest> {
    const compression = await compressionOf(this.#content, blob);
    if (compression === "none") return blob;
    const digester = createDigester();
    for await (const chunk of decompress(this.#content.open(blob))) digester.update(chunk);
    return digester.digest();
  }
}

/** What an image's own description has no more. */
const droppedFields = ["id", "parent", "parent_id", "layer_id", "Size", "throwaway"];

function configOf(top: Json, stack: readonly LegacyLayer[]): Json {
  const kept = Object.fromEntries(
    Object.entries(top).filter(([name]) => !droppedFields.includes(name)),
  );
  return {
    ...kept,
    os: textOf(top, "os") || "linux",
    architecture: textOf(top, "architecture") || "amd64",
    rootfs: { type: "layers", diff_ids: stack.map((layer) => layer.diffId) },
    history: stack.map(({ json }) => historyOf(json)),
  };
}

function historyOf(json: Json): Json {
  const container = json["container_config"];
  const command: unknown =
    typeof container === "object" && container !== null && "Cmd" in container ? container.Cmd : [];
  const createdBy = Array.isArray(command) ? command.join(" ") : "";
  const fields = {
    created: textOf(json, "created"),
    author: textOf(json, "author"),
    created_by: createdBy,
    comment: textOf(json, "comment"),
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ""));
}

function textOf(json: Json, name: string): string {
  const value = json[name];
  return typeof value === "string" ? value : "";
}
