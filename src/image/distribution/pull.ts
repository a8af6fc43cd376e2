/**
 * Brings images from registries.
 *
 * 1. The reference is resolved to the manifest for a platform, the policy is asked.
 * 2. Config and layers come in parallel; a layer is unpacked once it and those below it are there.
 *    Beside them come the attestations that the index has of the image.
 * 3. Everything is synced; then image, names and digests are recorded in one transaction.
 *
 * A pull that breaks off leaves no record. Its pieces are kept for a day, so that the next one goes on.
 */
import { EngineError, isKind } from "../../lib/errors.ts";
import type { Digest } from "../../oci/digest.ts";
import { imagePlatform } from "../../oci/image-config.ts";
import { formatPlatform, matchPlatform } from "../../oci/platform.ts";
import {
  defaultTag,
  familiarName,
  familiarString,
  formatReference,
  parseReference,
  type Reference,
  referenceName,
  withDefaultTag,
  withDigest,
  withTag,
} from "../../oci/reference.ts";
import type { RegistryClient } from "../../remote/registry-client.ts";
import { platformMismatch } from "../../lib/docker-messages.ts";
import { type ChosenManifest, chooseManifest } from "./choose-manifest.ts";
import { fetchAttestations } from "./_fetch-attestations.ts";
import { fetchImage, isDiskFull, storeDocuments } from "./_fetch-image.ts";
import { holdImage } from "../hold-image.ts";
import type { ImageRecord } from "../image-records.ts";
import type { Progress, PullOptions } from "../image-service.ts";
import type { ImageContext } from "../context.ts";
import { publishImageEvent } from "../publish-event.ts";
import { planLayers } from "../store-image.ts";

/**
 * Tags that stand for what is kept of another manifest: its signatures, attestations, referrers.
 *
 * @see cosign's SIGNATURE_SPEC; OCI distribution-spec v1.1, "Referrers Tag Schema"
 */
const signatureTag = /^sha(?:256|512)-[0-9a-f]{64,128}(?:\.(?:sig|att|sbom))?$/;

/** How long attestations may take once the image is here, unless that took longer. */
const attestationWaitMinMs = 2_000;

/** Tags of one repository that are pulled at once by "all". */
const tagCountMax = 10_000;

/**
 * Pulls one image; without tag or digest, the one tagged `latest`.
 *
 * @returns its ID, once it is durable
 * @throws what the registry says; invalid-argument for what is no image; canceled
 */
export async function pullImage(
  context: ImageContext,
  { reference: text, ...options }: PullOptions & { readonly reference: string },
): Promise<Digest> {
  const reference = withDefaultTag(pullable(text));
  const { id, isNewer } = await pullReference(context, { ...options, reference });
  const shown = familiarString(reference);
  tellStatus(options.progress, { shown, isNewer });
  tellMismatch(context, { shown, id, ...options });
  return id;
}

/** Pulls all tags of a repository. */
export async function pullAllTags(
  context: ImageContext,
  { repository, ...options }: PullOptions & { readonly repository: string },
): Promise<void> {
  const { tag: _tag, digest: _digest, ...name } = pullable(repository);
  const registry = registryOf(context);
  const { credentials, signal } = options;
  const tags = await registry.listTags(name, {
    ...(credentials === undefined ? {} : { credentials }),
    ...(signal === undefined ? {} : { signal }),
  });
  if (tags.length > tagCountMax) {
    throw new EngineError(
      "invalid-argument",
      `${familiarName(name)} has ${tags.length} tags: at most ${tagCountMax} are pulled at once`,
    );
  }
  let isNewer = false;
  for (const tag of tags) {
    if (signatureTag.test(tag)) {
      options.progress({ id: tag, status: "Not an image, but of one: not pulled" });
      continue;
    }
    const pulled = await pullReference(context, { ...options, reference: withTag(name, tag) });
    isNewer ||= pulled.isNewer;
  }
  tellStatus(options.progress, { shown: familiarName(name), isNewer });
}

/** The registry client. @throws not-implemented for an engine without one */
export function registryOf(context: ImageContext): RegistryClient {
  const { registry } = context;
  if (registry !== undefined) return registry;
  throw new EngineError("not-implemented", "this engine has no registry client");
}

function pullable(text: string): Reference {
  const reference = parseReference(text);
  if (familiarName(reference) === "scratch") {
    throw new EngineError("permission-denied", "'scratch' is a reserved name");
  }
  return reference;
}

interface ReferencePull extends PullOptions {
  readonly reference: Reference;
}

interface Pulled {
  readonly id: Digest;
  /** Whether the name was bound to another image before, or to none. */
  readonly isNewer: boolean;
}

async function pullReference(context: ImageContext, pull: ReferencePull): Promise<Pulled> {
  const { reference, progress, credentials, signal, platform } = pull;
  const registry = registryOf(context);
  const call = {
    ...(credentials === undefined ? {} : { credentials }),
    ...(signal === undefined ? {} : { signal }),
  };
  try {
    const chosen = await chooseManifest(registry, {
      reference,
      ...call,
      ...(platform === undefined ? {} : { platform }),
    });
    const isByDigest = reference.digest !== undefined;
    progress({
      status: `Pulling from ${reference.path}`,
      id: isByDigest ? familiarString(reference) : (reference.tag ?? defaultTag),
    });
    await context.policy?.check({
      action: "pull",
      reference,
      names: [formatReference(reference)],
      digests: digestsOf(chosen),
      imageId: chosen.manifest.config.digest,
      ...call,
    });
    const pulled = await store(context, { ...pull, chosen, registry });
    progress({ status: `Digest: ${chosen.target.digest}` });
    return pulled;
  } catch (error) {
    if (signal?.aborted !== true) throw error;
    throw new EngineError("canceled", "the pull was canceled", { cause: error });
  }
}

interface Store extends ReferencePull {
  readonly chosen: ChosenManifest;
  readonly registry: RegistryClient;
}

/** Fetches the image unless it is here, and records it under its names. */
async function store(context: ImageContext, options: Store): Promise<Pulled> {
  const { index, distribution, metadata } = context;
  const { reference, chosen } = options;
  const names = namesOf(reference, chosen);
  const before = index.findName(names.asked)?.id;
  const key = `${names.asked} ${chosen.digest}`;
  const record = await context.making(async (leaseId) => {
    const { stored, isFetched, attachments } = await fetchAll(context, {
      ...options,
      leaseId,
      key,
    });
    if (options.signal?.aborted === true) throw new EngineError("canceled", "canceled");
    await metadata.commit(() => {
      // Should it have been removed meanwhile, it is back: the lease has kept all of it.
      if (isFetched || index.findById(stored.id) === undefined) index.put(stored);
      for (const name of names.all) {
        const known = index.findName(name);
        const others = known?.target?.digest === chosen.target.digest ? known.attachments : [];
        index.bind(name, stored.id, {
          target: chosen.target,
          isPublished: true,
          attachments: [...new Set([...(others ?? []), ...attachments])],
        });
      }
      const blobs = chosen.manifest.layers.map((layer) => layer.digest);
      distribution.addPlaces([...blobs, stored.id], referenceName(reference));
      distribution.dropPieces(key);
    });
    return stored;
  });
  publishImageEvent(context, {
    action: "pull",
    record,
    id: familiarString(reference),
    name: familiarName(reference),
  });
  return { id: record.id, isNewer: before !== record.id };
}

interface Fetch extends Store {
  readonly leaseId: string;
  readonly key: string;
}

interface Fetched {
  readonly stored: ImageRecord;
  readonly isFetched: boolean;
}

/** Fetches the image, and beside it what the index says of it: that is not waited for for long. */
async function fetchAll(
  context: ImageContext,
  fetch: Fetch,
): Promise<Fetched & { readonly attachments: readonly Digest[] }> {
  const startMs = performance.now();
  const ending = new AbortController();
  const signals = [ending.signal, ...(fetch.signal === undefined ? [] : [fetch.signal])];
  const attestations = fetchAttestations(context, { ...fetch, signal: AbortSignal.any(signals) });
  // Awaited below; until then a rejection must not count as one that nobody heard.
  attestations.catch(() => undefined);
  try {
    const fetched = await fetchUnlessHere(context, fetch);
    const waitMs = Math.max(attestationWaitMinMs, performance.now() - startMs);
    const timer = setTimeout(() => ending.abort(), waitMs);
    const attachments = await attestations.finally(() => clearTimeout(timer));
    return { ...fetched, attachments };
  } catch (error) {
    ending.abort();
    await Promise.allSettled([attestations]);
    throw error;
  }
}

async function fetchUnlessHere(context: ImageContext, options: Fetch): Promise<Fetched> {
  const { content, index, distribution } = context;
  const { chosen, key, leaseId } = options;
  const known = index.findById(chosen.manifest.config.digest);
  if (known !== undefined) holdImage(context, { record: known, leaseId });
  if (known !== undefined && isWhole(context, known)) {
    // Another manifest of an image that is here: it must be one of these layers as well.
    planLayers(chosen.manifest, index.config(known));
    await storeDocuments(context, { chosen, leaseId, durable: true });
    return { stored: known, isFetched: false };
  }
  const { config, layers } = chosen.manifest;
  // Not the documents: whoever comes back asks for them anyway.
  const pieces = [config, ...layers].map((it) => it.digest);
  distribution.keepPieces(key, pieces);
  try {
    return { stored: await fetchImage(context, options), isFetched: true };
  } catch (error) {
    // Of what is malformed no later attempt makes use.
    if (isKind(error, "invalid-argument")) distribution.dropPieces(key);
    if (isDiskFull(error)) {
      // What was half-way done would only keep the disk full.
      distribution.dropPieces(key);
      await content.sweep({ keepMs: 0 });
    }
    throw error;
  }
}

/** Whether all of an image is here that a container needs. */
function isWhole({ content, snapshots }: ImageContext, record: ImageRecord): boolean {
  return (
    content.find(record.id) !== undefined &&
    record.layers.every((layer) => snapshots.find(layer.chainId) !== undefined)
  );
}

function namesOf(
  reference: Reference,
  { target }: ChosenManifest,
): { readonly asked: string; readonly all: readonly string[] } {
  const byDigest = formatReference(withDigest(reference, target.digest));
  if (reference.digest !== undefined) return { asked: byDigest, all: [byDigest] };
  const byTag = formatReference(reference);
  return { asked: byTag, all: [byTag, byDigest] };
}

function digestsOf({ target, digest }: ChosenManifest): readonly Digest[] {
  return target.digest === digest ? [digest] : [target.digest, digest];
}

function tellStatus(
  progress: Progress,
  pulled: { readonly shown: string; readonly isNewer: boolean },
): void {
  const what = pulled.isNewer ? "Downloaded newer image" : "Image is up to date";
  progress({ status: `Status: ${what} for ${pulled.shown}` });
}

/** Docker: an image of one platform is pulled whatever was asked for, with a warning, seen in 28.5. */
function tellMismatch(
  { index }: ImageContext,
  pulled: PullOptions & { readonly shown: string; readonly id: Digest },
): void {
  const record = index.findById(pulled.id);
  if (pulled.platform === undefined || record === undefined) return;
  const found = imagePlatform(index.config(record));
  if (matchPlatform(pulled.platform, found)) return;
  const { message } = platformMismatch(pulled.shown, {
    found: formatPlatform(found),
    wanted: formatPlatform(pulled.platform),
  });
  pulled.progress({ status: `WARNING: ${message}` });
}
