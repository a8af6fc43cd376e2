/** An image as an archive or as a layout in a folder of the client's; the image store is not touched. */
import { EngineError } from "../../lib/errors.ts";
import type { Digest } from "../../oci/digest.ts";
import { parseReference, withDefaultTag } from "../../oci/reference.ts";
import { annotationsOf, checkAnnotations } from "./annotations.ts";
import { archiveStream, planArchive, sendArchive } from "./archive.ts";
import { attestImage, isAttested } from "../attestation/attest.ts";
import type { BuildOutput } from "../build-service.ts";
import type { VertexProgress } from "../progress/progress.ts";
import { draftOf, hostFirst, metadataOf, packLayers, shownNames } from "./image-parts.ts";
import type { Exported, ExportOptions, PlatformResult } from "./result.ts";

/** The name under which a client offers the folder that takes a layout. */
const layoutStoreId = "export";

/** How one archive is made. */
export interface ArchiveExport {
  readonly results: readonly PlatformResult[];
  readonly output: Extract<BuildOutput, { kind: "docker" | "oci" }>;
  /** Number of the output. */
  readonly index: number;
  readonly vertex: VertexProgress;
}

/** Sends the images of all platforms to the client. */
export async function exportArchive(how: ExportOptions, wanted: ArchiveExport): Promise<Exported> {
  const { vertex, output, results } = wanted;
  const isDocker = output.kind === "docker";
  if (isDocker && (results.length > 1 || isAttested(how))) {
    throw new EngineError(
      "invalid-argument",
      "docker exporter does not currently support exporting manifest lists",
    );
  }
  const names = output.names.map((name) => withDefaultTag(parseReference(name)));
  const annotations = annotationsOf(output);
  checkAnnotations(annotations, {
    platforms: results.map(({ graph }) => graph.platform),
    hasIndex: results.length > 1 || isAttested(how),
    hasLayout: true,
  });
  const { compression: packing, isForced = false } = output;
  vertex.status({ id: "exporting layers", current: 0 });
  const images = await Promise.all(
    (isDocker ? results : hostFirst(results)).map(async (result) => {
      const { config, layers } = draftOf(how, result);
      const packed = await packLayers(how, layers, { packing, isForced });
      return {
        config,
        layers: packed,
        platform: result.graph.platform,
        ...(isAttested(how)
          ? {
              attest: async (manifest: Digest) =>
                await attestImage(how, { result, manifest, names }),
            }
          : {}),
      };
    }),
  );
  const archive = await planArchive({ images, names, isDocker, annotations });
  vertex.status({ id: "exporting layers", current: 0, isCompleted: true });
  const { configDigest: config, top } = archive;
  const { digest } = top;
  vertex.status({ id: `exporting manifest ${digest}`, current: 0, isCompleted: true });
  vertex.status({ id: `exporting config ${config}`, current: 0, isCompleted: true });
  const store = { images: how.options.images, signal: how.signal };
  if (output.isTar) {
    vertex.status({ id: "sending tarball", current: 0 });
    const { index } = wanted;
    await how.request.client.sendTar(archiveStream(store, archive), { index });
    vertex.status({ id: "sending tarball", current: 0, isCompleted: true });
  } else {
    const folder = how.request.client.contentStore?.(layoutStoreId);
    if (folder === undefined) {
      throw new EngineError("not-found", "the client takes no image layout: use a tar");
    }
    vertex.status({ id: "copying files", current: 0 });
    await sendArchive(store, archive, folder);
    vertex.status({ id: "copying files", current: 0, isCompleted: true });
  }
  const shown = shownNames(output.names);
  for (const name of shown) {
    vertex.status({ id: `naming to ${name}`, current: 0, isCompleted: true });
  }
  return { digest, metadata: metadataOf({ config, digest, names: shown, descriptor: top }) };
}
