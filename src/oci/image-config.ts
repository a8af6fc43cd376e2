import { parseTime } from "../lib/time.ts";
import { compact, decodeDocument, encodeDocument, type Fields } from "./_json.ts";
import { type Digest, isDigest } from "./digest.ts";
import { layersMax } from "./manifest.ts";
import { normalizePlatform, type Platform } from "./platform.ts";

/** How to tell whether a container is healthy. Docker's addition. Times in nanoseconds. */
export interface Healthcheck {
  /** [] inherits, ["NONE"] disables, ["CMD", …] execs, ["CMD-SHELL", text] asks the shell. */
  readonly Test?: readonly string[];
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
  readonly Retries?: number;
}

/**
 * How a container of the image runs unless its creator says otherwise.
 *
 * @see OCI image-spec v1.1, config.md, "config"; Engine API v1.51, ContainerConfig, for Docker's additions
 */
export interface ImageRunConfig {
  readonly Hostname?: string;
  readonly Domainname?: string;
  readonly User?: string;
  readonly AttachStdin?: boolean;
  readonly AttachStdout?: boolean;
  readonly AttachStderr?: boolean;
  readonly ExposedPorts?: Readonly<Record<string, Record<string, never>>>;
  readonly Tty?: boolean;
  readonly OpenStdin?: boolean;
  readonly StdinOnce?: boolean;
  readonly Env?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Healthcheck?: Healthcheck;
  readonly ArgsEscaped?: boolean;
  readonly Image?: string;
  readonly Volumes?: Readonly<Record<string, Record<string, never>>>;
  readonly WorkingDir?: string;
  readonly Entrypoint?: readonly string[];
  readonly NetworkDisabled?: boolean;
  readonly MacAddress?: string;
  readonly OnBuild?: readonly string[];
  readonly Labels?: Readonly<Record<string, string>>;
  readonly StopSignal?: string;
  /** Seconds. */
  readonly StopTimeout?: number;
  readonly Shell?: readonly string[];
}

/** One step of how the image came to be. @see OCI image-spec v1.1, config.md, "history" */
export interface ImageHistory {
  readonly created?: string;
  readonly author?: string;
  readonly created_by?: string;
  readonly comment?: string;
  readonly empty_layer?: boolean;
}

/**
 * What an image is: platform, run configuration, layers and history.
 *
 * @see OCI image-spec v1.1, config.md
 */
export interface ImageConfig {
  readonly architecture: string;
  readonly os: string;
  readonly variant?: string;
  readonly "os.version"?: string;
  readonly "os.features"?: readonly string[];
  readonly created?: string;
  readonly author?: string;
  readonly config?: ImageRunConfig;
  readonly rootfs: { readonly type: "layers"; readonly diff_ids: readonly Digest[] };
  readonly history?: readonly ImageHistory[];
  /** Docker's additions; kept for inspect. */
  readonly docker_version?: string;
  readonly container?: string;
  readonly container_config?: ImageRunConfig;
  readonly parent?: string;
  readonly comment?: string;
}

/** Largest image config. */
export const imageConfigMaxBytes: number = 8 * 1024 * 1024;
/** Longest text of a run configuration: an argument of execve may have no more. */
export const runTextMaxLength: number = 128 * 1024;

/**
 * Decodes an image config.
 *
 * Checks types and bounds; that the diff IDs are as many as the manifest's layers is the caller's
 * check. Fields that are not known are dropped here, so that the original bytes stay authoritative:
 * store and push those, and take their digest as the image ID.
 *
 * @throws invalid-argument for a malformed document
 */
export function decodeImageConfig(bytes: Uint8Array): ImageConfig {
  const fields = decodeDocument(bytes, { sizeMaxBytes: imageConfigMaxBytes, what: "image config" });
  return compact({
    architecture: fields.text("architecture") ?? "",
    os: fields.text("os") ?? "",
    variant: fields.text("variant"),
    "os.version": fields.text("os.version"),
    "os.features": fields.texts("os.features"),
    created: moment(fields, "created"),
    author: fields.text("author"),
    config: decodeRun(fields.object("config")),
    rootfs: decodeRootfs(fields),
    history: fields.objects("history")?.map(decodeHistory),
    docker_version: fields.text("docker_version"),
    container: fields.text("container"),
    container_config: decodeRun(fields.object("container_config")),
    parent: fields.text("parent"),
    comment: fields.text("comment"),
  });
}

/** Encodes the config of a new image; the same value gives the same bytes. */
export function encodeImageConfig(config: ImageConfig): Uint8Array {
  return encodeDocument(config);
}

/** The platform that the image says it runs on, normalised. */
export function imagePlatform(config: ImageConfig): Platform {
  return normalizePlatform(
    compact({
      os: config.os,
      architecture: config.architecture,
      variant: config.variant,
      "os.version": config["os.version"],
      "os.features": config["os.features"],
    }),
  );
}

function decodeRootfs(fields: Fields): ImageConfig["rootfs"] {
  const rootfs = fields.object("rootfs");
  // An image without layers may leave it out, as Docker's "FROM scratch" did.
  if (rootfs === undefined) return { type: "layers", diff_ids: [] };
  const type = rootfs.text("type") ?? "layers";
  if (type !== "layers") rootfs.refuse("type", `"layers" is wanted`);
  const ids = rootfs.texts("diff_ids") ?? [];
  if (ids.length > layersMax) rootfs.refuse("diff_ids", `more than ${layersMax} layers`);
  const diffIds = ids.map((id, index) =>
    isDigest(id) ? id : rootfs.refuse(`diff_ids[${index}]`, "not a digest"),
  );
  return { type: "layers", diff_ids: diffIds };
}

function decodeHistory(fields: Fields): ImageHistory {
  return compact({
    created: moment(fields, "created"),
    author: fields.text("author"),
    created_by: fields.text("created_by"),
    comment: fields.text("comment"),
    empty_layer: fields.flag("empty_layer"),
  });
}

function decodeRun(fields: Fields | undefined): ImageRunConfig | undefined {
  if (fields === undefined) return undefined;
  const healthcheck = fields.object("Healthcheck");
  return compact({
    Hostname: plain(fields, "Hostname"),
    Domainname: plain(fields, "Domainname"),
    User: plain(fields, "User"),
    AttachStdin: fields.flag("AttachStdin"),
    AttachStdout: fields.flag("AttachStdout"),
    AttachStderr: fields.flag("AttachStderr"),
    ExposedPorts: fields.keySet("ExposedPorts"),
    Tty: fields.flag("Tty"),
    OpenStdin: fields.flag("OpenStdin"),
    StdinOnce: fields.flag("StdinOnce"),
    Env: plainList(fields, "Env"),
    Cmd: command(fields, "Cmd"),
    Healthcheck: healthcheck === undefined ? undefined : decodeHealthcheck(healthcheck),
    ArgsEscaped: fields.flag("ArgsEscaped"),
    Image: plain(fields, "Image"),
    Volumes: fields.keySet("Volumes"),
    WorkingDir: plain(fields, "WorkingDir"),
    Entrypoint: command(fields, "Entrypoint"),
    NetworkDisabled: fields.flag("NetworkDisabled"),
    MacAddress: plain(fields, "MacAddress"),
    OnBuild: fields.texts("OnBuild"),
    Labels: fields.textMap("Labels"),
    StopSignal: plain(fields, "StopSignal"),
    StopTimeout: fields.integer("StopTimeout"),
    Shell: command(fields, "Shell"),
  });
}

function decodeHealthcheck(fields: Fields): Healthcheck {
  const duration = (key: string): number | undefined => {
    // Nanoseconds beyond 2^53 (104 days) lose their last digits, which nobody counts on.
    const value = fields.raw(key);
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !Number.isInteger(value)) {
      return fields.refuse(key, "a whole number is wanted");
    }
    return value < 0 ? fields.refuse(key, "negative") : value;
  };
  return compact({
    Test: plainList(fields, "Test"),
    Interval: duration("Interval"),
    Timeout: duration("Timeout"),
    StartPeriod: duration("StartPeriod"),
    StartInterval: duration("StartInterval"),
    Retries: fields.integer("Retries"),
  });
}

/** RFC 3339, in which Go writes times; a list of images is sorted by them. */
const momentForm = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

function moment(fields: Fields, key: string): string | undefined {
  const text = fields.text(key);
  if (text === undefined || text === "") return undefined;
  if (!momentForm.test(text)) fields.refuse(key, "a time as RFC 3339 is wanted");
  parseTime(text);
  return text;
}

/** Docker: one word may be a text, as images before 1.2 have it. */
function command(fields: Fields, key: string): readonly string[] | undefined {
  if (typeof fields.raw(key) !== "string") return plainList(fields, key);
  return [plain(fields, key) ?? ""];
}

/** A text that goes into a process: without NUL, and short enough for execve. */
function plain(fields: Fields, key: string): string | undefined {
  const text = fields.text(key);
  if (text !== undefined) checkPlain(fields, key, text);
  return text;
}

function plainList(fields: Fields, key: string): readonly string[] | undefined {
  const texts = fields.texts(key);
  for (const [index, text] of (texts ?? []).entries()) checkPlain(fields, `${key}[${index}]`, text);
  return texts;
}

function checkPlain(fields: Fields, key: string, text: string): void {
  if (text.includes("\0")) fields.refuse(key, "holds a NUL byte");
  if (text.length > runTextMaxLength) {
    fields.refuse(key, `longer than ${runTextMaxLength} characters`);
  }
}
