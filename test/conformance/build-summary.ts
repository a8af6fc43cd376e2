/** What a built image is, as text that two engines' results are compared by. */
import { createHash } from "node:crypto";
import { TarReader } from "../../src/lib/tar/tar-reader.ts";
import { decodeByteString, type TarHeader } from "../../src/lib/tar/tar-header.ts";
import { at, listAt, textAt } from "../support/json.ts";

/** What a build came to. Everything is text, so that differences can be shown. */
export interface BuildSummary {
  readonly ended: "built" | "refused";
  /** The last line that says an error. */
  readonly error?: string;
  readonly warnings: readonly string[];
  /** The image's configuration, without its base's layers and history. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly history?: readonly string[];
  /** Entries of each layer above the base. */
  readonly layers?: readonly (readonly string[])[];
  /** All layers on each other: path to what is there. */
  readonly merged?: Readonly<Record<string, string>>;
  /** Files that were exported. */
  readonly output?: readonly string[];
}

/** What a build began with. */
export interface Origin {
  /** Layers of the base. */
  readonly baseLayers: readonly string[];
  /** History entries of the base. */
  readonly baseHistory: number;
}

/** An entry of an archive. */
interface Entry {
  readonly header: TarHeader;
  readonly sha256: string;
  readonly bytes: Buffer;
}

const archiveMaxBytes = 1_000_000_000;
const hashShown = 12;
const nsPerMs = 1_000_000n;
/** 2026-01-02: whatever the corpus says of times is earlier, whatever a build makes is later. */
const nowMs = 1_767_312_000_000;
const permissionBits = 0o7777;
const whiteout = ".wh.";
const opaqueName = ".wh..wh..opq";
const pathOf = ({ name }: TarHeader): string =>
  decodeByteString(name)
    .replace(/^(\.?\/)+/, "")
    .replace(/\/$/, "");

/** Reads all entries of an archive, and their content. */
function readTar(bytes: Uint8Array): readonly Entry[] {
  const entries: Entry[] = [];
  const reader = new TarReader(
    {
      entry(header) {
        const parts: Buffer[] = [];
        return {
          write: (part) => void parts.push(Buffer.from(part)),
          end() {
            const content = Buffer.concat(parts);
            const sha256 = createHash("sha256").update(content).digest("hex");
            entries.push({ header, sha256, bytes: content });
          },
        };
      },
    },
    { sizeMaxBytes: archiveMaxBytes },
  );
  reader.push(bytes);
  reader.end();
  return entries;
}

/** Makes a summary of an archive of one image, as `docker save` writes it. */
export function summariseImage(
  archive: Uint8Array,
  origin: Origin,
): Pick<BuildSummary, "config" | "history" | "layers" | "merged"> {
  const files = new Map(readTar(archive).map((entry) => [pathOf(entry.header), entry]));
  const document = (path: string): unknown =>
    JSON.parse(files.get(path)?.bytes.toString("utf8") ?? "null");
  const manifest = listAt(document("manifest.json"))[0];
  const config = document(textAt(manifest, "Config"));
  const diffIds = listAt(config, "rootfs", "diff_ids").map(String);
  const own = origin.baseLayers.every((id, index) => diffIds[index] === id)
    ? diffIds.slice(origin.baseLayers.length)
    : diffIds;
  const layers = listAt(manifest, "Layers")
    .map(String)
    .slice(diffIds.length - own.length)
    .map((path) => readTar(files.get(path)?.bytes ?? Buffer.alloc(0)));
  return {
    config: readConfig(config),
    history: readHistory(config, { ...origin, hasBase: own.length < diffIds.length }),
    layers: layers.map((entries) =>
      entries.map((entry) => `${pathOf(entry.header)} ${describe(entry)}`).toSorted(),
    ),
    merged: merge(layers),
  };
}

/** Makes a summary of an archive of files. */
export function summariseFiles(archive: Uint8Array): readonly string[] {
  return readTar(archive)
    .map((entry) => `${pathOf(entry.header)} ${describe(entry)}`)
    .toSorted();
}

function readConfig(config: unknown): Readonly<Record<string, unknown>> {
  const keys = ["architecture", "os", "variant", "author", "created", "config"];
  return Object.fromEntries(
    keys
      .map((key) => [key, at(config, key)] as const)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, key === "created" ? timeOf(String(value)) : value]),
  );
}

function readHistory(
  config: unknown,
  origin: Origin & { readonly hasBase: boolean },
): readonly string[] {
  const own = listAt(config, "history").slice(origin.hasBase ? origin.baseHistory : 0);
  return own.map((entry) => {
    const parts = ["created_by", "comment", "author"].map((key) => at(entry, key) ?? "-");
    const size = at(entry, "empty_layer") === true ? "empty" : "layer";
    return [...parts, size, timeOf(String(at(entry, "created")))].join(" | ");
  });
}

function timeOf(text: string): string {
  return Date.parse(text) >= nowMs ? "now" : text;
}

/** Type, mode, owner, size, content, target, attributes, time. */
function describe({ header, sha256 }: Entry): string {
  // What a whiteout is besides its name means nothing.
  if (baseName(pathOf(header)).startsWith(whiteout)) return "";
  const mode = (header.mode & permissionBits).toString(8).padStart(4, "0");
  const isNow = header.mtimeNs / nsPerMs >= BigInt(nowMs);
  const xattrs = [...header.xattrs].map(
    ([name, value]) => `${name}=${Buffer.from(value).toString("hex")}`,
  );
  const content = header.type === "file" ? [header.sizeBytes, sha256.slice(0, hashShown)] : [];
  const isDevice = header.type === "char" || header.type === "block";
  return [
    header.type,
    mode,
    `${header.uid}:${header.gid}`,
    ...content,
    ...(header.linkName === "" ? [] : [`-> ${decodeByteString(header.linkName)}`]),
    ...(isDevice ? [`${header.devMajor},${header.devMinor}`] : []),
    ...xattrs,
    isNow ? "now" : `${header.mtimeNs / nsPerMs}ms`,
  ].join(" ");
}

/** Puts layers on each other; what they take away from the base stays as a whiteout. */
function merge(layers: readonly (readonly Entry[])[]): Readonly<Record<string, string>> {
  const tree = new Map<string, string>();
  const removeBelow = (path: string): void => {
    for (const each of [...tree.keys()]) if (each.startsWith(`${path}/`)) tree.delete(each);
  };
  for (const layer of layers) {
    const gone = layer.filter(({ header }) => baseName(pathOf(header)).startsWith(whiteout));
    for (const { header } of gone) {
      const path = pathOf(header);
      const folder = path.slice(0, -baseName(path).length);
      if (baseName(path) === opaqueName) {
        removeBelow(folder.slice(0, -1));
        tree.set(path, "opaque");
        continue;
      }
      const target = `${folder}${baseName(path).slice(whiteout.length)}`;
      removeBelow(target);
      tree.set(target, "removed");
    }
    for (const entry of layer) {
      const path = pathOf(entry.header);
      if (path === "" || baseName(path).startsWith(whiteout)) continue;
      if (entry.header.type !== "directory") removeBelow(path);
      tree.set(path, describe(entry));
    }
  }
  return Object.fromEntries([...tree].toSorted(([left], [right]) => (left < right ? -1 : 1)));
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
