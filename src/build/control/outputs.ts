/** From BuildKit's exporters to outputs, and from a result to what a client reads of it. */
import type { TypedAttrs } from "../../api/buildkit/control.ts";
import { EngineError } from "../../lib/errors.ts";
import type { BuildOutput, BuildResult, ImageAnnotation } from "../build-service.ts";
import { isAnnotationKey, readAnnotations } from "./_annotation-keys.ts";
import { readBool, splitCsv } from "./_csv.ts";

type Attrs = ReadonlyMap<string, string>;

/** Attributes that an exporter takes; one without a list takes any value, which is read elsewhere. */
type TakenAttrs = Readonly<Record<string, readonly boolean[] | undefined>>;

/** What holds of images in the store however the attribute is written, and what is not served. */
const imageAttrs: TakenAttrs = {
  name: undefined,
  push: [true, false],
  store: [true],
  unpack: [true],
  "push-by-digest": [true, false],
  "name-canonical": [false],
  "registry.insecure": [false],
  "prefer-nondist-layers": [false],
  "force-compression": [true, false],
  compression: undefined,
  "oci-mediatypes": [true, false],
  "rewrite-timestamp": [true],
};
const archiveAttrs: TakenAttrs = {
  name: undefined,
  tar: [true, false],
  compression: undefined,
  "force-compression": [true, false],
  "oci-mediatypes": [true],
  "prefer-nondist-layers": [false],
  "rewrite-timestamp": [true],
};
const fileAttrs: TakenAttrs = { "platform-split": [true, false] };

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
    case "image": {
      check(type, attrs, imageAttrs);
      const compression = readCompression(attrs);
      return {
        kind: "image",
        names,
        isPushed: readBool(attrs.get("push")) === true,
        ...(readBool(attrs.get("push-by-digest")) === true ? { isByDigest: true } : {}),
        ...(attrs.has("compression") ? { compression } : {}),
        ...(readBool(attrs.get("force-compression")) === true ? { isForced: true } : {}),
        ...(readBool(attrs.get("oci-mediatypes")) === false ? { mediaTypes: "docker" } : {}),
        ...annotations(attrs),
      };
    }
    case "docker":
    case "oci": {
      check(type, attrs, archiveAttrs);
      const isForced = readBool(attrs.get("force-compression")) === true;
      return {
        kind: type,
        names,
        isTar: readBool(attrs.get("tar")) !== false,
        compression: readCompression(attrs),
        ...(isForced ? { isForced } : {}),
        ...annotations(attrs),
      };
    }
    case "local":
    case "tar": {
      check(type, attrs, fileAttrs);
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

/** Refuses what would be taken and not done. */
function check(type: string, attrs: Attrs, taken: TakenAttrs): void {
  for (const [name, value] of attrs) {
    if (isAnnotationKey(name) && taken !== fileAttrs) continue;
    if (!Object.hasOwn(taken, name)) throw refused(type, name);
    const values = taken[name];
    // An attribute without a value is as if it were not there.
    if (values === undefined || value === "") continue;
    const isOn = readBool(value);
    if (isOn === undefined) {
      throw new EngineError("invalid-argument", `non-bool value specified for ${name}`);
    }
    if (!values.includes(isOn)) throw refused(type, `${name}=${value}`);
  }
}

function refused(type: string, what: string, why = ""): EngineError {
  return new EngineError(
    "not-implemented",
    `the ${type} exporter does not support ${what}${why === "" ? "" : `: ${why}`}`,
  );
}

function annotations(attrs: Attrs): { readonly annotations?: readonly ImageAnnotation[] } {
  const all = readAnnotations(attrs);
  if (all.length === 0) return {};
  if (readBool(attrs.get("oci-mediatypes")) !== false) return { annotations: all };
  throw new EngineError("invalid-argument", "annotations need oci-mediatypes=true");
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
