import { EngineError } from "../../lib/errors.ts";
import { requestFailure } from "../transport/connection-failure.ts";
import { sendFollowing } from "../transport/follow.ts";
import { challengeKeepMs } from "../transport/limits.ts";
import { answerFailure } from "./registry-fault.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import type { Endpoint } from "./endpoints.ts";
import type { Credentials } from "../registry-client.ts";
import { basicAuthorization, type BearerToken, type TokenSource } from "./token-source.ts";
import type { HttpAnswer, HttpBody, HttpRequest, HttpTransport } from "../transport/transport.ts";

/** A request to a registry, whoever may make it. */
export interface RegistryRequest {
  readonly method: string;
  /** Resolved against the endpoint: `v2/…`, or a URL that the registry gave. */
  readonly path: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: HttpBody;
  /** What a token must allow. */
  readonly scopes: readonly string[];
  readonly credentials?: Credentials | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Statuses that are an answer and no failure; 2xx always are. */
  readonly taken?: readonly number[];
}

/** One endpoint, and what it wants to know of who asks. */
export class RegistrySession {
  readonly endpoint: Endpoint;
  readonly #transport: HttpTransport;
  readonly #tokens: TokenSource;
  #challenges: { readonly list: readonly Challenge[]; readonly untilMs: number } | undefined;

  constructor(
    endpoint: Endpoint,
    options: { readonly transport: HttpTransport; readonly tokens: TokenSource },
  ) {
    this.endpoint = endpoint;
    this.#transport = options.transport;
    this.#tokens = options.tokens;
  }

  /**
   * Learns what the registry wants for authentication, unless that is known.
   *
   * @throws unavailable when nobody answers, in Docker's words
   */
  async ping(signal?: AbortSignal): Promise<readonly Challenge[]> {
    if (this.#challenges !== undefined && performance.now() < this.#challenges.untilMs) {
      return this.#challenges.list;
    }
    const url = new URL("v2/", this.endpoint.url);
    const request = { method: "GET", url, headers: {}, signal };
    const answer = await sendFollowing(this.#transport, request);
    answer.close();
    return this.#learn(answer);
  }

  /** Forgets what `ping` has learnt. */
  forget(): void {
    this.#challenges = undefined;
  }

  /**
   * Sends a request with what the registry wants for it; once more when a token was refused.
   *
   * @throws what the registry says, see `answerFailure`
   */
  async send(wanted: RegistryRequest): Promise<HttpAnswer> {
    const challenges = await this.ping(wanted.signal);
    const first = await this.#try(wanted, { challenges });
    let { answer } = first;
    if (answer.status === 401) {
      const learnt = this.#learn(answer);
      const known = learnt.some(({ scheme }) => scheme === "bearer" || scheme === "basic");
      const isWorthIt = known && (first.sent === undefined || first.sent.startsWith("Bearer "));
      if (isWorthIt) {
        const refused = first.sent?.slice("Bearer ".length);
        answer.close();
        ({ answer } = await this.#try(wanted, { challenges: learnt, refused }));
      }
    }
    const isTaken = answer.status >= 200 && answer.status < 300;
    if (isTaken || wanted.taken?.includes(answer.status) === true) return answer;
    throw await answerFailure(answer);
  }

  /** Logs in: any scope will do. @returns a refresh token where there is one */
  async login(credentials: Credentials, signal?: AbortSignal): Promise<BearerToken | undefined> {
    this.forget();
    const challenges = await this.ping(signal);
    const request = this.#request({ method: "GET", path: "v2/", scopes: [], signal });
    const challenge = challenges.find(({ scheme }) => scheme === "bearer");
    if (challenge === undefined) return undefined;
    const wish = { challenge, scopes: [], credentials, request, isLogin: true };
    return await this.#tokens.get(wish);
  }

  async #try(
    wanted: RegistryRequest,
    known: { readonly challenges: readonly Challenge[]; readonly refused?: string | undefined },
  ): Promise<{ readonly answer: HttpAnswer; readonly sent: string | undefined }> {
    const request = this.#request(wanted);
    const isOwn = request.url.origin === this.endpoint.url.origin;
    const sent = isOwn ? await this.#authorize(wanted, { ...known, request }) : undefined;
    const headers =
      sent === undefined ? request.headers : { ...request.headers, authorization: sent };
    return { answer: await sendFollowing(this.#transport, { ...request, headers }), sent };
  }

  async #authorize(
    wanted: RegistryRequest,
    known: {
      readonly challenges: readonly Challenge[];
      readonly refused?: string | undefined;
      readonly request: HttpRequest;
    },
  ): Promise<string | undefined> {
    const { challenges, request } = known;
    const credentials = this.endpoint.isMirror ? undefined : wanted.credentials;
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    if (bearer !== undefined) {
      const given = credentials?.registryToken;
      if (given !== undefined && given !== "") return `Bearer ${checkedToken(given)}`;
      const { scopes } = wanted;
      const wish = { challenge: bearer, scopes, credentials, request, refused: known.refused };
      return `Bearer ${(await this.#tokens.get(wish)).token}`;
    }
    if (!challenges.some(({ scheme }) => scheme === "basic")) return undefined;
    const basic = basicAuthorization(credentials);
    if (basic !== undefined) return basic;
    const reason = "no basic auth credentials";
    const { message } = requestFailure(request, reason);
    // Docker: 500, and so its CLI says it instead of asking for a password, seen in 28.5
    throw new EngineError("unauthorized", message, { details: { httpStatus: 500, reason } });
  }

  #request(wanted: RegistryRequest): HttpRequest {
    const { path } = wanted;
    const url = typeof path === "string" ? new URL(path, this.endpoint.url) : path;
    return {
      method: wanted.method,
      url,
      headers: wanted.headers ?? {},
      ...(wanted.body === undefined ? {} : { body: wanted.body }),
      signal: wanted.signal,
    };
  }

  #learn(answer: HttpAnswer): readonly Challenge[] {
    // Only the endpoint itself says what it wants; not a host that it redirects to.
    if (answer.url.origin !== this.endpoint.url.origin) return [];
    const list = parseChallenges(answer.header("www-authenticate") ?? "");
    this.#challenges = { list, untilMs: performance.now() + challengeKeepMs };
    return list;
  }
}

function checkedToken(token: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new EngineError("invalid-argument", "the registry token has characters that no token has");
}
