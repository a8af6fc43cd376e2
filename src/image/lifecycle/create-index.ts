/** Binds names to images of several platforms at once. */
import { blobHolder } from "../hold-image.ts";
import { EngineError } from "../../lib/errors.ts";
import { encodeIndex } from "../../oci/manifest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";
import { imagePlatform } from "../../oci/image-config.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import type { IndexDraft } from "../image-service.ts";
import type { ImageContext } from "../context.ts";
import { publishImageEvent } from "../publish-event.ts";
import { tagName } from "../tag-name.ts";

/** Stores an index and binds the names to it. @see ImageService.createIndex */
export async function createIndex(context: ImageContext, draft: IndexDraft): Promise<Digest> {
  const { index, content, metadata } = context;
  const records = draft.images.map((id) => index.getById(id));
  const [first, ...others] = records;
  const names = draft.names.map(tagName);
  if (first === undefined) {
    throw new EngineError("invalid-argument", "create index: it names no image");
  }
  return await context.making(async (leaseId) => {
    const bytes = encodeIndex({
      schemaVersion: 2,
      mediaType: ociMediaTypes.index,
      manifests: [
        ...records.map((record, number) => ({
          mediaType: record.manifestMediaType,
          digest: record.manifestDigest,
          size: record.manifestSizeBytes,
          platform: imagePlatform(index.config(record)),
          ...annotationsOf(draft.imageAnnotations?.[number]),
        })),
        ...(draft.attachments ?? []).map(({ descriptor }) => descriptor),
      ],
      ...(draft.annotations === undefined ? {} : { annotations: draft.annotations }),
    });
    const { digest } = await content.put(bytes, {
      hold: blobHolder(context, leaseId),
    });
    const target = { digest, mediaType: ociMediaTypes.index, sizeBytes: bytes.length };
    const attachments = (draft.attachments ?? []).flatMap(({ blobs }) => blobs);
    await metadata.commit(() => {
      // One that was removed meanwhile is nothing to give a name to.
      for (const { id } of records) index.getById(id);
      for (const name of names) {
        index.bind(name, first.id, { target, others: others.map(({ id }) => id), attachments });
      }
    });
    for (const name of names) {
      publishImageEvent(context, { action: "tag", record: first, name: index.show(name) });
    }
    return digest;
  });
}

function annotationsOf(annotations: Descriptor["annotations"]): Pick<Descriptor, "annotations"> {
  return annotations === undefined ? {} : { annotations };
}
