import { decodeAuth, decodeAuthHeader } from "../../api/request/decode-request.ts";
import type { AuthConfig } from "../../api/image.ts";
import { filtersValue, integerValue, textValue } from "../../api/request/query.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import { type Exchange, type Handler, param, readBody, sendJson } from "../exchange.ts";
import { platformValue } from "./_platform.ts";
import { streamProgress } from "./_progress.ts";

/** What a caller is to a registry, as the image service takes it. */
interface Credentials {
  readonly username?: string;
  readonly password?: string;
  readonly identityToken?: string;
  readonly registryToken?: string;
}

/** Handlers of the operations that talk to registries, by operation name. */
export const registryRoutes: Readonly<Record<string, Handler>> = {
  SystemAuth: async (exchange) => {
    const auth = decodeAuth(await readBody(exchange));
    const { identityToken } = await exchange.backend.images.logIn(auth.serveraddress ?? "", {
      credentials: credentialsOf(auth) ?? {},
      signal: exchange.signal,
    });
    sendJson(exchange, { IdentityToken: identityToken ?? "", Status: "Login Succeeded" });
  },

  ImageSearch: async (exchange) => {
    const { query, backend, signal } = exchange;
    const limit = limitValue(exchange);
    const hits = await backend.images.search(textValue(query, "term"), {
      ...callOf(exchange),
      ...(limit === undefined ? {} : { limit }),
      filters: filtersValue(query),
      signal,
    });
    sendJson(
      exchange,
      hits.map((hit) => ({
        star_count: hit.starCount,
        is_official: hit.isOfficial,
        name: hit.name,
        is_automated: hit.isAutomated,
        description: hit.description,
      })),
    );
  },

  ImagePush: async (exchange) => {
    const { query, backend } = exchange;
    const platform = platformValue(query);
    const call = { ...callOf(exchange, await pushAuth(exchange)) };
    await streamProgress(exchange, async (progress) => {
      await backend.images.push(param(exchange, "name"), {
        ...call,
        tag: textValue(query, "tag"),
        ...(platform === undefined ? {} : { platform }),
        progress,
      });
    });
  },

  DistributionInspect: async (exchange) => {
    const name = param(exchange, "name");
    const described = await exchange.backend.images.describeDistribution(name, callOf(exchange));
    sendJson(exchange, { Descriptor: described.descriptor, Platforms: described.platforms });
  },
};

/** The credentials and the end of a request that goes on to a registry. */
export function callOf(
  exchange: Exchange,
  auth: AuthConfig | undefined = headerAuth(exchange),
): { readonly credentials?: Credentials; readonly signal: AbortSignal } {
  const credentials = auth === undefined ? undefined : credentialsOf(auth);
  return { signal: exchange.signal, ...(credentials === undefined ? {} : { credentials }) };
}

/** Docker: goes on without credentials when the header is malformed, seen in 28.5. */
function headerAuth(exchange: Exchange): AuthConfig | undefined {
  const header = exchange.request.headers["x-registry-auth"];
  try {
    return decodeAuthHeader(Array.isArray(header) ? header[0] : header);
  } catch (error) {
    if (!isKind(error, "invalid-argument")) throw error;
    exchange.logger.debug("the header X-Registry-Auth is malformed and not used");
    return undefined;
  }
}

/** Of a push: old clients send them as the body. */
async function pushAuth(exchange: Exchange): Promise<AuthConfig | undefined> {
  const body = await readBody(exchange);
  if (exchange.request.headers["x-registry-auth"] !== undefined) return headerAuth(exchange);
  return body.length === 0 ? undefined : decodeAuth(body);
}

/** What a registry is told; `auth` is base64 of `username:password`, as in config.json. */
export function credentialsOf(auth: AuthConfig): Credentials | undefined {
  const pair = Buffer.from(auth.auth ?? "", "base64").toString();
  const colon = pair.indexOf(":");
  const fields = {
    username: auth.username ?? (colon > 0 ? pair.slice(0, colon) : undefined),
    password: auth.password ?? (colon > 0 ? pair.slice(colon + 1) : undefined),
    identityToken: auth.identitytoken,
    registryToken: auth.registrytoken,
  };
  const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== "");
  return given.length === 0 ? undefined : Object.fromEntries(given);
}

function limitValue(exchange: Exchange): number | undefined {
  try {
    return integerValue(exchange.query, "limit");
  } catch (error) {
    if (!isKind(error, "invalid-argument")) throw error;
    throw new EngineError("invalid-argument", `invalid limit specified: ${error.message}`);
  }
}
