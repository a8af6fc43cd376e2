/** From BuildKit's exporters to outputs, and from a result to what a client reads of it. */
import type { TypedAttrs } from "../../api/buildkit/control.ts";
import { EngineError } from "../../lib/errors.ts";
import type { BuildOutput, BuildResult } from "../build-service.ts";
import { readBool, splitCsv } from "./_csv.ts";

/**
 * Reads exporters, in their order.
 *
 * @throws invalid-argument for one that is not known, not-implemented for what is not served of one
 */
export function readOutputs(exporters: readonly TypedAttrs[]): readonly BuildOutput[] {
  return exporters.map(readOutput);
}

function readOutput({ type, attrs }: TypedAttrs): BuildOutput {
  const names = splitCsv(attrs.get("name") ?? "").filter((name) => name !== "");
  switch (type) {
    case "moby":
    case "image":
      if (readBool(attrs.get("push-by-digest")) === true) {
        throw new EngineError("not-implemented", "push-by-digest is not supported");
      }
      return {
        kind: "image",
        names,
        isPushed: readBool(attrs.get("push")) === true,
        isStored: type === "moby" || readBool(attrs.get("store")) !== false,
      };
    case "docker":
    case "oci":
      if (readBool(attrs.get("tar")) === false) {
        throw new EngineError(
          "not-implemented",
          `the ${type} exporter with tar=false is not supported: use a tar file`,
        );
      }
      return { kind: type, names, isTar: true, compression: readCompression(attrs) };
    case "local":
    case "tar": {
      const splits = readBool(attrs.get("platform-split"));
      return { kind: type, ...(splits === undefined ? {} : { splitsPlatforms: splits }) };
    }
    default:
      throw new EngineError(
        "invalid-argument",
        `exporter ${JSON.stringify(type)} could not be found`,
      );
  }
}

function readCompression(attrs: ReadonlyMap<string, string>): "gzip" | "zstd" | "uncompressed" {
  const compression = attrs.get("compression") ?? "gzip";
  if (compression === "gzip" || compression === "zstd" || compression === "uncompressed") {
    return compression;
  }
  throw new EngineError("invalid-argument", `unsupported layer compression type ${compression}`);
}

/** What a client reads of a build: `--iidfile`, `--metadata-file`. */
export function exporterResponse(
  result: BuildResult,
  outputs: readonly BuildOutput[],
): ReadonlyMap<string, string> {
  // Answers of a subrequest are a gateway's to give; a client that asks directly finds them here.
  const response = new Map(Object.entries({ ...result.metadata, ...result.answers }));
  const add = (key: string, value: string | undefined): void => {
    if (value !== undefined && value !== "" && !response.has(key)) response.set(key, value);
  };
  add("containerimage.config.digest", result.imageId);
  add("containerimage.digest", result.digest ?? result.imageId);
  const image = outputs.find((output) => "names" in output && output.names.length > 0);
  if (image !== undefined && "names" in image) add("image.name", image.names.join(","));
  return response;
}
