import { createHash } from "node:crypto";
import { EngineError } from "../../lib/errors.ts";
import { decodeToken, type TokenDocument } from "../../oci/distribution.ts";
import { requestFailure } from "../transport/connection-failure.ts";
import { sendFollowing } from "../transport/follow.ts";
import { answerFailure } from "./registry-fault.ts";
import type { Challenge } from "./challenge.ts";
import type { Credentials } from "../registry-client.ts";
import {
  type HttpAnswer,
  type HttpRequest,
  type HttpTransport,
  readAnswer,
} from "../transport/transport.ts";

/** Who asks for what. */
export interface TokenWish {
  readonly challenge: Challenge;
  /** As `repository:library/busybox:pull`. */
  readonly scopes: readonly string[];
  readonly credentials?: Credentials | undefined;
  /** The request that needs the token; a failure is told as its. */
  readonly request: HttpRequest;
  /** A token that was refused: not that one again. */
  readonly refused?: string | undefined;
  /** Asks for a refresh token as well. */
  readonly isLogin?: boolean;
}

/** What was got. */
export interface BearerToken {
  readonly token: string;
  readonly refreshToken?: string;
}

const clientId = "docker";
const tokenMaxBytes = 256 * 1024;
/** How long a token holds when its server does not say. @see token authentication, "expires_in" */
const lifetimeDefaultS = 60;
/** A token is not used in the last part of its life: the request takes time as well. */
const lifetimeUsed = 0.9;
/** Tokens kept; the oldest goes. */
const tokensMax = 256;

/**
 * Gets bearer tokens and keeps them while they hold, each for those credentials alone.
 *
 * A lifetime is counted on this machine's monotonic clock from the moment the token came: neither
 * clock's date matters.
 *
 * @see Docker Registry HTTP API V2, token authentication and OAuth2
 */
export class TokenSource {
  readonly #transport: HttpTransport;
  readonly #monotonicMs: () => number;
  readonly #kept = new Map<string, { readonly token: string; readonly untilMs: number }>();

  constructor(transport: HttpTransport, options: { readonly monotonicMs: () => number }) {
    this.#transport = transport;
    this.#monotonicMs = options.monotonicMs;
  }

  /** @throws what the token server says, as the failure of the request that needs the token */
  async get(wish: TokenWish): Promise<BearerToken> {
    const key = keyOf(wish);
    const kept = this.#kept.get(key);
    const holds = kept !== undefined && this.#monotonicMs() < kept.untilMs;
    if (holds && kept.token !== wish.refused && wish.isLogin !== true) return kept;
    this.#kept.delete(key);
    const document = await this.#fetch(wish);
    // Docker: an access token is taken before a token, and either may be empty, seen in 28.5
    const token = [document.accessToken, document.token].find((text) => text) ?? "";
    if (!/^[\x21-\x7e]+$/.test(token)) {
      throw failure(wish, "authorization server did not include a token in the response");
    }
    const lifetimeS = document.expiresInS ?? 0;
    const usedS = (lifetimeS > 0 ? lifetimeS : lifetimeDefaultS) * lifetimeUsed;
    this.#kept.set(key, { token, untilMs: this.#monotonicMs() + usedS * 1000 });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > tokensMax && oldest !== undefined) this.#kept.delete(oldest);
    const { refreshToken } = document;
    return { token, ...(refreshToken === undefined ? {} : { refreshToken }) };
  }

  async #fetch(wish: TokenWish): Promise<TokenDocument> {
    const { credentials, request } = wish;
    const realm = realmOf(wish);
    const fetched =
      credentials?.identityToken === undefined
        ? getRequest(realm, wish)
        : refreshRequest(realm, wish);
    const answer = await this.#send({ ...fetched, signal: request.signal }, wish);
    const bytes = await readAnswer(answer, { sizeMaxBytes: tokenMaxBytes, what: "token" });
    return decodeToken(bytes);
  }

  async #send(request: HttpRequest, wish: TokenWish): Promise<HttpAnswer> {
    const answer = await sendFollowing(this.#transport, request);
    if (answer.status >= 200 && answer.status < 300) return answer;
    const refusal = await answerFailure(answer);
    const { message } = requestFailure(wish.request, refusal.message);
    throw new EngineError(refusal.kind, message, {
      cause: refusal,
      // A refusal by the token server is not one by the repository: no `DENIED` of an image.
      details: { ...refusal.details, code: undefined, reason: refusal.message },
    });
  }
}

/** @throws unavailable for a realm that is no URL, or that credentials may not be sent to */
function realmOf(wish: TokenWish): URL {
  const text = wish.challenge.parameters.get("realm");
  const realm = URL.parse(text ?? "");
  if (realm === null || !/^https?:$/.test(realm.protocol)) {
    throw failure(wish, `no valid realm in the token challenge: ${JSON.stringify(text ?? "")}`);
  }
  const isDowngrade = wish.request.url.protocol === "https:" && realm.protocol === "http:";
  if (isDowngrade && wish.credentials !== undefined) {
    throw failure(wish, "refused to send credentials without TLS to the token server");
  }
  realm.username = "";
  realm.password = "";
  return realm;
}

function getRequest(realm: URL, wish: TokenWish): HttpRequest {
  const { credentials } = wish;
  const service = wish.challenge.parameters.get("service");
  if (service !== undefined) realm.searchParams.set("service", service);
  for (const scope of wish.scopes) realm.searchParams.append("scope", scope);
  if (wish.isLogin === true) {
    realm.searchParams.set("offline_token", "true");
    realm.searchParams.set("client_id", clientId);
  }
  const headers: Record<string, string> = {};
  const basic = basicAuthorization(credentials);
  if (basic !== undefined) {
    realm.searchParams.set("account", credentials?.username ?? "");
    headers["authorization"] = basic;
  }
  return { method: "GET", url: realm, headers };
}

function refreshRequest(realm: URL, wish: TokenWish): HttpRequest {
  const form = new URLSearchParams({
    grant_type: "refresh_token",
    refresh_token: wish.credentials?.identityToken ?? "",
    client_id: clientId,
    service: wish.challenge.parameters.get("service") ?? "",
    ...(wish.scopes.length === 0 ? {} : { scope: wish.scopes.join(" ") }),
  });
  const bytes = Buffer.from(form.toString());
  return {
    method: "POST",
    url: realm,
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: { sizeBytes: bytes.byteLength, open: () => [bytes], isSecret: true },
  };
}

/** The value of Authorization for a name and a password; undefined without them. */
export function basicAuthorization(credentials: Credentials | undefined): string | undefined {
  const { username = "", password = "" } = credentials ?? {};
  if (username === "" && password === "") return undefined;
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

/** Tells wishes apart without keeping a password. */
function keyOf(wish: TokenWish): string {
  const { challenge, credentials } = wish;
  const facts = [
    challenge.parameters.get("realm"),
    challenge.parameters.get("service"),
    wish.scopes.toSorted(),
    credentials?.username,
    credentials?.password,
    credentials?.identityToken,
  ];
  return createHash("sha256").update(JSON.stringify(facts)).digest("hex");
}

function failure(wish: TokenWish, reason: string): EngineError {
  return requestFailure(wish.request, reason, { isTransient: false });
}
