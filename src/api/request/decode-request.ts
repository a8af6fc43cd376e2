/** Decoders of the other bodies (exec, volumes, credentials) and of the content type. */
import { EngineError } from "../../lib/errors.ts";
import {
  decodeBody,
  flag,
  invalidJson,
  omitEmpty,
  pointer,
  raw,
  struct,
  text,
  textMap,
  texts,
} from "./decode.ts";
import { consoleSize } from "./decode-container.ts";
import type { ExecConfig, ExecStartConfig } from "../exec.ts";
import type { AuthConfig } from "../image.ts";
import type { VolumeCreateOptions } from "../volume.ts";

const execCreate = struct<ExecConfig>(
  {
    User: text(),
    Privileged: flag,
    Tty: flag,
    ConsoleSize: pointer(consoleSize),
    AttachStdin: flag,
    AttachStderr: flag,
    AttachStdout: flag,
    DetachKeys: text(),
    Env: texts,
    WorkingDir: text(),
    Cmd: texts,
  },
  "container.ExecOptions",
);

const execStart = struct<ExecStartConfig>(
  { Detach: flag, Tty: flag, ConsoleSize: pointer(consoleSize) },
  "container.ExecStartOptions",
);

const volumeCreate = struct<VolumeCreateOptions>(
  {
    Name: text(),
    Driver: text(),
    DriverOpts: textMap,
    Labels: textMap,
    ClusterVolumeSpec: omitEmpty(raw),
  },
  "volume.CreateOptions",
);

const authConfig = struct<AuthConfig>(
  {
    username: omitEmpty(text()),
    password: omitEmpty(text()),
    auth: omitEmpty(text()),
    email: omitEmpty(text()),
    serveraddress: omitEmpty(text()),
    identitytoken: omitEmpty(text()),
    registrytoken: omitEmpty(text()),
  },
  "registry.AuthConfig",
);

/** Decodes the body of `POST /containers/{id}/exec`. @see Engine API v1.51, ContainerExec */
export function decodeExecCreate(bytes: Uint8Array): ExecConfig {
  return decodeBody(bytes, { goType: "container.ExecOptions", decoder: execCreate });
}

/** Decodes the body of `POST /exec/{id}/start`. @see Engine API v1.51, ExecStart */
export function decodeExecStart(bytes: Uint8Array): ExecStartConfig {
  return decodeBody(bytes, { goType: "container.ExecStartOptions", decoder: execStart });
}

/** Decodes the body of `POST /volumes/create`. @see Engine API v1.51, VolumeCreate */
export function decodeVolumeCreate(bytes: Uint8Array): VolumeCreateOptions {
  return decodeBody(bytes, { goType: "volume.CreateOptions", decoder: volumeCreate });
}

/** Decodes the body of `POST /auth`. @see Engine API v1.51, SystemAuth */
export function decodeAuth(bytes: Uint8Array): AuthConfig {
  if (bytes.length === 0) throw invalidJson("got EOF while reading request body");
  return decodeBody(bytes, { goType: "registry.AuthConfig", decoder: authConfig });
}

/**
 * Decodes the header `X-Registry-Auth`: base64url of a JSON object. Undefined when there is none.
 *
 * @see Engine API v1.51, "Authentication"
 */
export function decodeAuthHeader(header: string | undefined): AuthConfig | undefined {
  if (header === undefined || header === "") return undefined;
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(header)) {
    throw new EngineError("invalid-argument", "invalid X-Registry-Auth header: not base64");
  }
  return decodeBody(Buffer.from(header, "base64url"), {
    goType: "registry.AuthConfig",
    decoder: authConfig,
  });
}

/**
 * Refuses a body that does not say that it is JSON.
 *
 * @param contentType the header's value, undefined when it was not sent
 * @param options.hasBody false when no body was sent: then the header may be missing
 * @throws invalid-argument with Docker's sentence
 */
export function checkJsonContentType(
  contentType: string | undefined,
  options: { readonly hasBody: boolean },
): void {
  const header = contentType ?? "";
  if (header === "" && !options.hasBody) return;
  const [type = "", ...parameters] = header.split(";");
  const mediaType = type.trim().toLowerCase();
  const fault = mediaTypeFault(mediaType, parameters);
  if (fault !== undefined) {
    throw new EngineError(
      "invalid-argument",
      `malformed Content-Type header (${header}): mime: ${fault}`,
    );
  }
  if (mediaType !== "application/json") {
    throw new EngineError(
      "invalid-argument",
      `unsupported Content-Type header (${header}): must be 'application/json'`,
    );
  }
}

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const mediaTypePattern = new RegExp(`^${token}(/${token})?$`);
const parameterPattern = new RegExp(`^\\s*${token}\\s*=\\s*(${token}|"[^"]*")\\s*$`);

function mediaTypeFault(mediaType: string, parameters: readonly string[]): string | undefined {
  if (mediaType === "") return "no media type";
  if (!mediaTypePattern.test(mediaType)) return "unexpected content after media type";
  const last = parameters.at(-1);
  const named = last !== undefined && last.trim() === "" ? parameters.slice(0, -1) : parameters;
  return named.every((parameter) => parameterPattern.test(parameter))
    ? undefined
    : "invalid media parameter";
}
