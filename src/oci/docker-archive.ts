import {
  decodeDocument,
  decodeJson,
  encodeDocument,
  entriesMax,
  Fields,
  isObject,
} from "./_json.ts";
import { compact } from "./_json.ts";
import { EngineError } from "../lib/errors.ts";
import { decodeDescriptor, type Descriptor } from "./descriptor.ts";

/** Lists the images of a `docker save` archive. */
export const archiveManifestFile = "manifest.json";
/** Names of images, as archives before manifest.json had them. */
export const archiveRepositoriesFile = "repositories";

/** One image of a `docker save` archive. @see docker image spec v1.2, "Combined Image JSON" */
export interface ArchiveImage {
  /** Path of the image config in the archive; relative, without "..". */
  readonly Config: string;
  readonly RepoTags: readonly string[];
  /** Paths of the layers, bottom first. */
  readonly Layers: readonly string[];
  readonly Parent?: string;
  /** Descriptors of foreign layers, by diff ID. */
  readonly LayerSources?: Readonly<Record<string, Descriptor>>;
}

/** Names of images: repository → tag → image or layer ID. */
export type ArchiveRepositories = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** Largest file of an archive that describes others. */
export const archiveManifestMaxBytes: number = 16 * 1024 * 1024;
const pathMaxLength = 4_096;

/**
 * Decodes manifest.json.
 *
 * @throws invalid-argument when it is malformed, or a path leaves the archive
 */
export function decodeArchiveManifest(bytes: Uint8Array): readonly ArchiveImage[] {
  const what = archiveManifestFile;
  const value = decodeJson(bytes, { sizeMaxBytes: archiveManifestMaxBytes, what });
  if (!Array.isArray(value) || value.length > entriesMax) {
    const sentence = `decode ${what}: an array of at most ${entriesMax} entries is wanted`;
    throw new EngineError("invalid-argument", sentence);
  }
  return value.map((item: unknown, index) => {
    if (isObject(item)) return decodeImage(new Fields(item, `${what}[${index}]`));
    throw new EngineError("invalid-argument", `decode ${what}[${index}]: an object is wanted`);
  });
}

/** Encodes manifest.json. */
export function encodeArchiveManifest(images: readonly ArchiveImage[]): Uint8Array {
  return encodeDocument(images);
}

/** Decodes `repositories`. */
export function decodeRepositories(bytes: Uint8Array): ArchiveRepositories {
  const what = archiveRepositoriesFile;
  const fields = decodeDocument(bytes, { sizeMaxBytes: archiveManifestMaxBytes, what });
  const names = fields.keys();
  return Object.fromEntries(names.map((name) => [name, fields.textMap(name) ?? {}]));
}

/** Encodes `repositories`. */
export function encodeRepositories(repositories: ArchiveRepositories): Uint8Array {
  return encodeDocument(repositories);
}

function decodeImage(fields: Fields): ArchiveImage {
  const config = fields.mustText("Config");
  if (!isArchivePath(config)) fields.refuse("Config", "not a path in the archive");
  const layers = fields.texts("Layers") ?? [];
  for (const [index, path] of layers.entries()) {
    if (!isArchivePath(path)) fields.refuse(`Layers[${index}]`, "not a path in the archive");
  }
  return compact({
    Config: config,
    RepoTags: fields.texts("RepoTags") ?? [],
    Layers: layers,
    Parent: fields.text("Parent"),
    LayerSources: decodeSources(fields),
  });
}

function decodeSources(fields: Fields): Readonly<Record<string, Descriptor>> | undefined {
  const sources = fields.object("LayerSources");
  if (sources === undefined) return undefined;
  const entries = sources.keys().map((name) => {
    const source = sources.object(name) ?? sources.refuse(name, "missing");
    return [name, decodeDescriptor(source)] as const;
  });
  return Object.fromEntries(entries);
}

function isArchivePath(path: string): boolean {
  const isPlain = path !== "" && path.length <= pathMaxLength && !path.includes("\0");
  return isPlain && !path.startsWith("/") && !path.split("/").includes("..");
}
