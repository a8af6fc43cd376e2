/** Folders of blobs that flags name: local caches, image layouts as contexts and as outputs. */
import { resolve } from "node:path";
import type { TypedAttrs } from "../../api/buildkit/control.ts";
import type { ContentFolder } from "../../client/session/content-folder.ts";
import { EngineError } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import { decodeDescriptorText } from "../../oci/descriptor.ts";
import { parseReference } from "../../oci/reference.ts";
import { bindInLayout, findInLayout, type LayoutName } from "./image-layout.ts";

const tagDefault = "latest";

/** What the session offers because of a flag, and what is left to do when the build is done. */
export interface BuildStores {
  readonly folders: Map<string, ContentFolder>;
  /** Told what was made. */
  readonly conclude: ((made: ReadonlyMap<string, string>) => void)[];
}

/** Nothing yet. */
export function noStores(): BuildStores {
  return { folders: new Map(), conclude: [] };
}

/**
 * Settles a cache that is read from; other kinds than `local` stay as they are.
 *
 * @returns undefined, with a sentence for the user, where there is nothing to be read
 */
export function importLocalCache(
  cache: TypedAttrs,
  to: { readonly stores: BuildStores; readonly warn: (sentence: string) => void },
): TypedAttrs | undefined {
  if (cache.type !== "local") return cache;
  const source = cache.attrs.get("src") ?? "";
  if (source === "") throw invalid("local cache importer requires src");
  const path = resolve(source);
  const given = cache.attrs.get("digest");
  const digest = given ?? findInLayout(path, cache.attrs.get("tag") ?? tagDefault)?.digest;
  if (digest === undefined) {
    to.warn(`local cache import at ${source}: nothing is there`);
    return undefined;
  }
  offer(to.stores, path, { isWritable: false });
  return { ...cache, attrs: new Map([...cache.attrs, ["src", path], ["digest", digest]]) };
}

/** Settles a cache that is written to. */
export function exportLocalCache(cache: TypedAttrs, stores: BuildStores): TypedAttrs {
  if (cache.type !== "local") return cache;
  const target = cache.attrs.get("dest") ?? "";
  if (target === "") throw invalid("local cache exporter requires dest");
  const path = resolve(target);
  offer(stores, path, { isWritable: true });
  const tag = cache.attrs.get("tag") ?? tagDefault;
  stores.conclude.push((made) => {
    const text = made.get("cache.manifest");
    if (text === undefined) return;
    bindInLayout(path, { descriptor: decodeDescriptorText(text), names: [{ tag }] });
  });
  return { ...cache, attrs: new Map([...cache.attrs, ["dest", path]]) };
}

function offer(
  { folders }: BuildStores,
  path: string,
  { isWritable }: { readonly isWritable: boolean },
): void {
  const id = `local:${path}`;
  folders.set(id, { path, isWritable: isWritable || folders.get(id)?.isWritable === true });
}

/**
 * Settles `oci-layout://path[:tag][@digest]`.
 *
 * @returns the context as the engine asks for it
 * @throws not-found for a layout without that tag
 */
export function openLayoutContext(value: string, stores: BuildStores): string {
  const [, text = "", digestText] =
    /^oci-layout:(?:\/\/)?(.*?)(?:@(\w+:[0-9a-f]+))?$/s.exec(value) ?? [];
  const [, pathText = text, tag = tagDefault] =
    /^(.*?)(?::([\w][\w.-]{0,127}))?$/s.exec(text) ?? [];
  const path = resolve(pathText);
  const digest = digestText ?? findInLayout(path, tag)?.digest;
  if (digest === undefined) {
    throw new EngineError("not-found", `invalid OCI layout ${pathText}: there is no tag "${tag}"`);
  }
  const id = createId().slice(0, 25);
  stores.folders.set(`oci:${id}`, { path, isWritable: false });
  return `oci-layout://${id}:${tag}@${digest}`;
}

/** Takes an image as a layout: output `type=oci,tar=false,dest=folder`. */
export function openLayoutOutput(dest: string, stores: BuildStores): void {
  if (stores.folders.has("export")) {
    throw invalid("only one output may be an image layout in a folder");
  }
  const path = resolve(dest);
  stores.folders.set("export", { path, isWritable: true });
  stores.conclude.push((made) => {
    const text = made.get("containerimage.descriptor");
    if (text === undefined) return;
    const descriptor = decodeDescriptorText(Buffer.from(text, "base64").toString("utf8"));
    const texts = (made.get("image.name") ?? "").split(",").filter((name) => name !== "");
    const names = texts.map((name): LayoutName => ({ name, tag: parseReference(name).tag }));
    bindInLayout(path, { descriptor, names });
  });
}

function invalid(sentence: string): EngineError {
  return new EngineError("invalid-argument", sentence);
}
