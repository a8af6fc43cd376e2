/** What becomes of a build's result: images, archives, folders. */
import type { BuildOutput } from "../build-service.ts";
import { exportArchive } from "./export-archive.ts";
import { exportFolder, exportTar } from "./export-files.ts";
import { exportImage } from "./export-image.ts";
import type { Exported, ExportOptions, PlatformResult } from "./result.ts";

/** Exports the results of a build in all the ways that it asks for. */
export async function exportResults(
  how: ExportOptions,
  results: readonly PlatformResult[],
): Promise<Exported> {
  let exported: Exported = { metadata: {} };
  for (const [index, output] of how.request.outputs.entries()) {
    const made = await exportOne(how, { results, output, index });
    exported = {
      ...exported,
      ...made,
      metadata: { ...exported.metadata, ...made.metadata },
    };
  }
  return exported;
}

interface OneExport {
  readonly results: readonly PlatformResult[];
  readonly output: BuildOutput;
  /** Number of the output. */
  readonly index: number;
}

async function exportOne(
  given: ExportOptions,
  { results, output, index }: OneExport,
): Promise<Exported> {
  const how = attestedAs(given, output);
  const { progress } = how;
  switch (output.kind) {
    case "image":
      return await progress.during(
        "exporting to image",
        async (vertex) => await exportImage(how, { results, output, vertex }),
      );
    case "docker":
    case "oci":
      return await progress.during(
        `exporting to ${output.kind} image format`,
        async (vertex) => await exportArchive(how, { results, output, index, vertex }),
      );
    case "local":
      return await progress.during("exporting to client directory", async (vertex) => {
        await exportFolder(how, { ...output, results, index, vertex });
        return { metadata: {} };
      });
    case "tar":
      return await progress.during("exporting to client tarball", async (vertex) => {
        await exportTar(how, { ...output, results, index, vertex });
        return { metadata: {} };
      });
  }
}

/** Provenance that nobody asked for goes with images that leave the machine, and nowhere else. */
function attestedAs(how: ExportOptions, output: BuildOutput): ExportOptions {
  const { sbom, isInlineOnly } = how.request.attestations;
  const leaves = output.kind === "oci" || (output.kind === "image" && output.isPushed);
  if (leaves || isInlineOnly !== true) return how;
  return { ...how, request: { ...how.request, attestations: { sbom } } };
}
