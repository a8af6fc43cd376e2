/** `--docker host=…,ca=…` of contexts. */
import { EngineError } from "../../lib/errors.ts";
import { parseEndpoint } from "../../client/endpoint.ts";
import type { Environment } from "../environment.ts";
import { readPem } from "../tls-files.ts";
import { splitCsv } from "../options/mount.ts";
import { splitPair } from "../options/key-values.ts";
import { type Context, getContext, tlsFiles } from "./store.ts";

/** What `--docker` says. */
export interface EndpointFlag {
  readonly host: string;
  readonly skipsTlsVerify: boolean;
  /** PEM text by file name. */
  readonly tls: ReadonlyMap<string, string>;
}

const keys = ["host", "from", "ca", "cert", "key", "skip-tls-verify"];

/** Reads all `--docker`. @param base what is kept where the flags say nothing */
export function parseEndpointFlag(
  environment: Environment,
  values: readonly string[],
  base?: Context,
): EndpointFlag {
  const fields = new Map(values.flatMap((value) => splitCsv(value)).map(splitPair));
  for (const key of fields.keys()) {
    if (!keys.includes(key))
      throw new EngineError("invalid-argument", `unrecognized config key: ${key}`);
  }
  const from = fields.get("from");
  const origin = from === undefined ? base : getContext(environment, from);
  const host = fields.get("host") ?? origin?.host ?? "";
  parseEndpoint(host);
  const tls = new Map<string, string>();
  for (const [option, file] of tlsFiles) {
    const path = fields.get(option);
    if (path !== undefined && path !== "") tls.set(file, readPem(path));
  }
  const skip = fields.get("skip-tls-verify");
  if (skip !== undefined && !/^(true|false|0|1)$/i.test(skip)) {
    throw new EngineError(
      "invalid-argument",
      `skip-tls-verify: parsing ${JSON.stringify(skip)}: invalid syntax`,
    );
  }
  const skipsTlsVerify =
    skip === undefined ? (origin?.skipsTlsVerify ?? false) : /^(true|1)$/i.test(skip);
  return { host, skipsTlsVerify, tls };
}
