/**
 * Who is asking, and may they? One gate a registry: open, passwords, or tokens.
 *
 * `GET /v2/` is answered with a challenge as long as nobody has logged in, also where pulling needs no
 * login: clients learn there how to log in.
 */
import type { IncomingMessage } from "node:http";
import { isKind } from "../../lib/errors.ts";
import type { AccessRules, RepositoryAction } from "./access-rules.ts";
import { refusal } from "../errors.ts";
import type { UserBase } from "./htpasswd.ts";
import type { TokenVerifier } from "./token.ts";

/** What a request is about to do. */
export type Wanted =
  | { readonly kind: "ping" | "catalog" | "metrics" }
  | {
      readonly kind: "repository";
      readonly repository: string;
      readonly actions: readonly RepositoryAction[];
    };

/** Who asks, once they were let in. */
export interface Caller {
  /** Undefined for who has not logged in. */
  readonly user: string | undefined;
  may(action: RepositoryAction, repository: string): boolean;
}

/** Lets callers in. */
export interface Gate {
  /** @throws UNAUTHORIZED with a challenge, DENIED */
  admit(request: IncomingMessage, wanted: Wanted): Promise<Caller>;
}

/** Everybody may do everything. */
export const openGate: Gate = {
  admit: async () => ({ user: undefined, may: () => true }),
};

const realm = "Tug registry";

/** Makes a gate that asks for a password with each request. */
export function createPasswordGate(options: {
  readonly users: UserBase;
  readonly rules: AccessRules;
}): Gate {
  const challenge = { "WWW-Authenticate": `Basic realm="${realm}"` };
  return {
    async admit(request, wanted) {
      const header = request.headers.authorization;
      const given = header === undefined ? undefined : parseBasic(header);
      if (header !== undefined && given === undefined) {
        throw refusal("UNAUTHORIZED", { headers: challenge });
      }
      if (given !== undefined && !(await options.users.check(given.user, given.password))) {
        throw refusal("UNAUTHORIZED", { headers: challenge });
      }
      const user = given?.user;
      const caller: Caller = { user, may: (...what) => options.rules(user, ...what) };
      if (isGranted(caller, wanted)) return caller;
      if (user === undefined) {
        throw refusal("UNAUTHORIZED", { headers: challenge, detail: detailOf(wanted) });
      }
      throw refusal("DENIED", { detail: detailOf(wanted) });
    },
  };
}

/** Makes a gate that asks for a token. */
export function createTokenGate(options: {
  readonly verify: TokenVerifier;
  readonly service: string;
  /** Where tokens are had; from the request when it is the registry itself. */
  readonly realm: (request: IncomingMessage) => string;
  /** What may be done without a token. */
  readonly rules: AccessRules;
}): Gate {
  const challenge = (request: IncomingMessage, wanted: Wanted, problem?: string): string => {
    const scope = scopeOf(wanted);
    return [
      `Bearer realm="${options.realm(request)}",service="${options.service}"`,
      ...(scope === undefined ? [] : [`scope="${scope}"`]),
      ...(problem === undefined ? [] : [`error="${problem}"`]),
    ].join(",");
  };
  return {
    async admit(request, wanted) {
      const refuse = (problem?: string): Error =>
        refusal("UNAUTHORIZED", {
          headers: { "WWW-Authenticate": challenge(request, wanted, problem) },
          detail: detailOf(wanted),
        });
      const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
      if (token === undefined) {
        const nobody: Caller = {
          user: undefined,
          may: (action, repository) => options.rules(undefined, action, repository),
        };
        if (isGranted(nobody, wanted)) return nobody;
        throw refuse();
      }
      const claims = await verified(options.verify, { token, refuse });
      const has = (kind: string, name: string, action: string): boolean =>
        claims.access.some(
          (one) =>
            one.type === kind &&
            one.name === name &&
            (one.actions.includes(action) || one.actions.includes("*")),
        );
      const caller: Caller = {
        user: claims.subject,
        may: (action, repository) => has("repository", repository, action),
      };
      if (wanted.kind === "ping") return caller;
      if (wanted.kind === "catalog" || wanted.kind === "metrics") {
        if (!has("registry", wanted.kind, "*")) throw refuse("insufficient_scope");
        // Who may see the catalog sees all of it: a token names no repositories for that.
        return { ...caller, may: () => true };
      }
      if (isGranted(caller, wanted)) return caller;
      throw refuse("insufficient_scope");
    },
  };
}

async function verified(
  verify: TokenVerifier,
  options: { readonly token: string; readonly refuse: (problem: string) => Error },
): Promise<Awaited<ReturnType<TokenVerifier>>> {
  try {
    return await verify(options.token);
  } catch (error) {
    if (isKind(error, "unauthorized")) throw options.refuse("invalid_token");
    throw error;
  }
}

/** Reads `Basic <base64 of user:password>`. */
export function parseBasic(
  header: string,
): { readonly user: string; readonly password: string } | undefined {
  const text = /^Basic +([A-Za-z0-9+/=_-]{1,4096})$/i.exec(header)?.[1];
  if (text === undefined) return undefined;
  const pair = Buffer.from(text, "base64").toString("utf8");
  const colon = pair.indexOf(":");
  if (colon < 1) return undefined;
  return { user: pair.slice(0, colon), password: pair.slice(colon + 1) };
}

function isGranted(caller: Caller, wanted: Wanted): boolean {
  if (wanted.kind !== "repository") return caller.user !== undefined;
  return wanted.actions.every((action) => caller.may(action, wanted.repository));
}

function scopeOf(wanted: Wanted): string | undefined {
  if (wanted.kind === "ping") return undefined;
  if (wanted.kind !== "repository") return `registry:${wanted.kind}:*`;
  return `repository:${wanted.repository}:${wanted.actions.join(",")}`;
}

function detailOf(wanted: Wanted): unknown {
  if (wanted.kind !== "repository") return undefined;
  const { repository, actions } = wanted;
  return actions.map((action) => ({ Type: "repository", Name: repository, Action: action }));
}
