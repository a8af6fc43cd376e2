import type { HistoryResponseItem, ImageInspect } from "../../api/image.ts";
import { formatTime } from "../../lib/time.ts";
import type { ImageHistory } from "../../oci/image-config.ts";
import { createdSeconds } from "./list-images.ts";
import { type ImageRecord, sizeOf } from "../image-records.ts";
import type { ImageContext } from "../context.ts";

const zeroTime = "0001-01-01T00:00:00Z";

/** What `inspect` shows of an image. @throws not-found */
export async function describeImage(
  context: ImageContext,
  reference: string,
): Promise<ImageInspect> {
  const { index, snapshots } = context;
  const record = index.find(reference);
  const config = index.config(record);
  const top = record.layers.at(-1);
  await Promise.resolve();
  return {
    Id: record.id,
    RepoTags: index.namesOf(record.id).map((name) => index.show(name)),
    RepoDigests: index.digestsOf(record.id).map((name) => index.show(name)),
    Parent: record.parentId ?? config.parent ?? "",
    Comment: config.comment ?? config.history?.at(-1)?.comment ?? "",
    ...(config.created === undefined ? {} : { Created: config.created }),
    DockerVersion: config.docker_version ?? "",
    Author: config.author ?? "",
    Config: runConfig(config.config),
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    // Docker: an image that does not say is of the engine's own, seen in 28.5
    Os: config.os === "" ? "linux" : config.os,
    ...(config["os.version"] === undefined ? {} : { OsVersion: config["os.version"] }),
    Size: sizeOf(record),
    GraphDriver: {
      Name: snapshots.driverName,
      Data: top === undefined ? null : snapshots.describe(top.chainId),
    },
    RootFS: { Type: "layers", Layers: record.layers.map((layer) => layer.diffId) },
    Metadata: {
      LastTagTime:
        record.lastTaggedNs === undefined ? zeroTime : formatTime(BigInt(record.lastTaggedNs)),
    },
  };
}

/** What images say about running; older ones hold more of a container's, without meaning. */
const shownFields: ReadonlySet<string> = new Set([
  "ArgsEscaped",
  "Cmd",
  "Entrypoint",
  "Env",
  "ExposedPorts",
  "Healthcheck",
  "Labels",
  "OnBuild",
  "Shell",
  "StopSignal",
  "User",
  "Volumes",
  "WorkingDir",
]);

/** Docker prints these fields even when the image says nothing. */
function runConfig(
  run: ReturnType<ImageContext["index"]["config"]>["config"],
): ImageInspect["Config"] {
  return {
    Cmd: null,
    Entrypoint: null,
    Env: null,
    Labels: null,
    OnBuild: null,
    User: "",
    Volumes: null,
    WorkingDir: "",
    ...Object.fromEntries(Object.entries(run ?? {}).filter(([name]) => shownFields.has(name))),
  };
}

/** The history, newest first, with the size of each layer. @throws not-found */
export async function describeHistory(
  context: ImageContext,
  reference: string,
): Promise<readonly HistoryResponseItem[]> {
  const { index } = context;
  const record = index.find(reference);
  const config = index.config(record);
  await Promise.resolve();
  const layers = [...record.layers];
  const history: readonly ImageHistory[] = config.history ?? record.layers.map(() => ({}));
  const items = history.map((entry): Omit<HistoryResponseItem, "Id" | "Tags"> => {
    const layer = entry.empty_layer === true ? undefined : layers.shift();
    return {
      Comment: entry.comment ?? "",
      Created:
        entry.created === undefined ? 0 : createdSeconds({ ...config, created: entry.created }),
      CreatedBy: entry.created_by ?? "",
      Size: layer?.unpackedSizeBytes ?? 0,
    };
  });
  let image: ImageRecord | undefined = record;
  return items.toReversed().map((item) => {
    // The images it was made from step by step, as far as they are here.
    const names = image === undefined ? [] : index.namesOf(image.id);
    const entry = {
      ...item,
      Id: image?.id ?? "<missing>",
      Tags: names.length > 0 ? names.map((name) => index.show(name)) : null,
    };
    image = image?.parentId === undefined ? undefined : index.findById(image.parentId);
    return entry;
  });
}
