/**
 * The registry as its own token server: who logs in with a password gets a token for what the access
 * rules grant.
 *
 * @see Docker Registry HTTP API V2, "Token Authentication Specification"; "Using OAuth 2.0"
 */
import type { IncomingMessage } from "node:http";
import { readAll } from "../../lib/stream-limit.ts";
import { type AccessRules, repositoryActions } from "./access-rules.ts";
import { distributionCodes, refusal } from "../errors.ts";
import { parseBasic } from "./gate.ts";
import type { UserBase } from "./htpasswd.ts";
import { isRepositoryName } from "../names.ts";
import { type Access, tokenLifetimeS, type TokenSigner } from "./token.ts";

/** Bytes of a form. */
const formMaxBytes = 64 * 1024;
/** Scopes of one request. */
const scopesMax = 100;

/** What a token server is made with. */
export interface TokenServerOptions {
  readonly users: UserBase;
  readonly rules: AccessRules;
  readonly signer: TokenSigner;
  readonly service: string;
}

/** Answers a request for a token with the JSON document. */
export type TokenServer = (request: IncomingMessage, query: URLSearchParams) => Promise<unknown>;

/** Makes the token server of a registry. */
export function createTokenServer(options: TokenServerOptions): TokenServer {
  return async (request, query) => {
    const isForm = request.method === "POST";
    const fields = isForm ? await readForm(request) : query;
    const service = fields.get("service");
    if (service !== null && service !== options.service) {
      throw refusal("DENIED", { message: `tokens are given for ${options.service} alone` });
    }
    const user = isForm
      ? await userOfForm(options.users, fields)
      : await userOfHeader(options.users, request.headers.authorization);
    const access = grant(fields.getAll("scope"), { user, rules: options.rules });
    const { token, issuedMs } = await options.signer.sign({ subject: user, access });
    return {
      token,
      access_token: token,
      expires_in: tokenLifetimeS,
      issued_at: new Date(issuedMs).toISOString(),
      ...(isForm ? { scope: fields.getAll("scope").join(" ") } : {}),
    };
  };
}

/** What of the wished for is granted; an entry with nothing left is left out. */
export function grant(
  scopes: readonly string[],
  options: { readonly user: string | undefined; readonly rules: AccessRules },
): readonly Access[] {
  const { user, rules } = options;
  const wishes = scopes.flatMap((text) => text.split(" ")).filter((text) => text !== "");
  if (wishes.length > scopesMax) {
    throw refusal("DENIED", { message: `more than ${scopesMax} scopes` });
  }
  return wishes.flatMap((text): readonly Access[] => {
    const wish = parseScope(text);
    if (wish === undefined) return [];
    const { type, name, actions } = wish;
    if (type === "registry") {
      const isKnown = name === "catalog" || name === "metrics";
      return user !== undefined && isKnown && mayAll(user, rules)
        ? [{ type, name, actions: ["*"] }]
        : [];
    }
    const wanted = actions.includes("*") ? repositoryActions : actions;
    const granted = repositoryActions.filter(
      (action) => wanted.includes(action) && rules(user, action, name),
    );
    return granted.length === 0 ? [] : [{ type, name, actions: granted }];
  });
}

/** Reads `repository:<name>:<action>,<action>`; the name may have a port's colon in it. */
export function parseScope(text: string): Access | undefined {
  const first = text.indexOf(":");
  const last = text.lastIndexOf(":");
  if (first < 1 || last <= first) return undefined;
  const type = text.slice(0, first).replace(/\(.*\)$/, "");
  const name = text.slice(first + 1, last);
  const actions = text
    .slice(last + 1)
    .split(",")
    .filter((one) => one !== "");
  if (type === "registry") return { type, name, actions };
  return type === "repository" && isRepositoryName(name) ? { type, name, actions } : undefined;
}

/** The catalog names all repositories, so it is for who may pull from all. */
function mayAll(user: string, rules: AccessRules): boolean {
  return rules(user, "pull", "any/repository/at/all");
}

async function userOfHeader(
  users: UserBase,
  header: string | undefined,
): Promise<string | undefined> {
  if (header === undefined) return undefined;
  const given = parseBasic(header);
  if (given !== undefined && (await users.check(given.user, given.password))) return given.user;
  throw wrong();
}

async function userOfForm(users: UserBase, fields: URLSearchParams): Promise<string> {
  const user = fields.get("username") ?? "";
  const password = fields.get("password") ?? "";
  if (fields.get("grant_type") !== "password") {
    // Docker and containerd ask by GET then.
    throw refusal("UNSUPPORTED", { message: "grant_type: password is the one there is" });
  }
  if (user !== "" && (await users.check(user, password))) return user;
  throw wrong();
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams> {
  const bytes = await readAll(request, { sizeMaxBytes: formMaxBytes, what: "read form" });
  return new URLSearchParams(Buffer.from(bytes).toString("utf8"));
}

function wrong(): Error {
  return refusal("UNAUTHORIZED", {
    message: "wrong user or password",
    status: distributionCodes.UNAUTHORIZED.status,
    headers: { "WWW-Authenticate": 'Basic realm="Tug registry"' },
  });
}
