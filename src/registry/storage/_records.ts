/** What the registry stores about its content, one table a kind. */
import { EngineError } from "../../lib/errors.ts";
import type { TableDefinition } from "../../metadata/metadata.ts";
import { type Digest, isDigest } from "../../oci/digest.ts";

/** That a repository has a blob. Key: `<repository>@<digest>`. */
export interface BlobRecord {
  readonly sizeBytes: number;
  readonly addedMs: number;
}

/** A blob that a manifest names. */
export interface BlobLink {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

/** That a repository has a manifest, and what it names. Key: `<repository>@<digest>`. */
export interface ManifestRecord {
  readonly mediaType: string;
  readonly sizeBytes: number;
  readonly pushedMs: number;
  readonly artifactType?: string;
  readonly subject?: Digest;
  readonly blobs: readonly BlobLink[];
  readonly manifests: readonly Digest[];
}

/** What a tag points at. Key: `<repository>:<tag>`. */
export interface TagRecord {
  readonly digest: Digest;
  readonly updatedMs: number;
}

/** An unfinished upload that has bytes. Key: its id. */
export interface UploadRecord {
  readonly repository: string;
  readonly startedMs: number;
}

/** The tables of one registry. */
export const blobTable: TableDefinition<BlobRecord> = {
  name: "registry-blob",
  decode(document) {
    const fields = objectOf(document);
    return { sizeBytes: numberAt(fields, "sizeBytes"), addedMs: numberAt(fields, "addedMs") };
  },
};

/** @see blobTable */
export const manifestTable: TableDefinition<ManifestRecord> = {
  name: "registry-manifest",
  decode(document) {
    const fields = objectOf(document);
    const { artifactType, subject } = fields;
    return {
      mediaType: textAt(fields, "mediaType"),
      sizeBytes: numberAt(fields, "sizeBytes"),
      pushedMs: numberAt(fields, "pushedMs"),
      ...(artifactType === undefined ? {} : { artifactType: textAt(fields, "artifactType") }),
      ...(subject === undefined ? {} : { subject: digestOfValue(subject) }),
      blobs: listAt(fields, "blobs").map((item) => {
        const link = objectOf(item);
        return { digest: digestOfValue(link["digest"]), sizeBytes: numberAt(link, "sizeBytes") };
      }),
      manifests: listAt(fields, "manifests").map(digestOfValue),
    };
  },
};

/** @see blobTable */
export const tagTable: TableDefinition<TagRecord> = {
  name: "registry-tag",
  decode(document) {
    const fields = objectOf(document);
    return { digest: digestOfValue(fields["digest"]), updatedMs: numberAt(fields, "updatedMs") };
  },
};

/** @see blobTable */
export const uploadTable: TableDefinition<UploadRecord> = {
  name: "registry-upload",
  decode(document) {
    const fields = objectOf(document);
    return { repository: textAt(fields, "repository"), startedMs: numberAt(fields, "startedMs") };
  },
};

type Fields = Readonly<Record<string, unknown>>;

function objectOf(value: unknown): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw refused("an object is wanted");
}

function numberAt(fields: Fields, key: string): number {
  const value = fields[key];
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  throw refused(`${key}: a whole number is wanted`);
}

function textAt(fields: Fields, key: string): string {
  const value = fields[key];
  if (typeof value === "string") return value;
  throw refused(`${key}: a string is wanted`);
}

function listAt(fields: Fields, key: string): readonly unknown[] {
  const value = fields[key];
  if (Array.isArray(value)) return value;
  throw refused(`${key}: a list is wanted`);
}

function digestOfValue(value: unknown): Digest {
  if (typeof value === "string" && isDigest(value)) return value;
  throw refused("a digest is wanted");
}

function refused(problem: string): EngineError {
  return new EngineError("invalid-argument", `decode registry record: ${problem}`);
}
