import { EngineError, isKind } from "../lib/errors.ts";
import { decodeCatalog, decodeSearch, distributionDocumentMaxBytes } from "../oci/distribution.ts";
import { defaultDomain } from "../oci/reference.ts";
import { sendFollowing } from "./transport/follow.ts";
import { readPages } from "./_listings.ts";
import type { RegistryReach } from "./session/registry-reach.ts";
import type { RegistryCall, SearchHit } from "./registry-client.ts";
import { basicAuthorization } from "./session/token-source.ts";
import { readAnswer } from "./transport/transport.ts";

/** The host that searches docker.io. */
const searchHost = "index.docker.io";
/** Hits that Hub gives at most. */
const hitsMax = 100;

/**
 * Searches docker.io, or the registry that the term begins with: by v1's search, and where there is
 * none, by the names in its catalog.
 */
export async function searchImages(
  reach: RegistryReach,
  options: { readonly term: string; readonly countMax: number; readonly call: RegistryCall },
): Promise<readonly SearchHit[]> {
  const { domain, words } = splitTerm(options.term);
  const countMax = Math.min(options.countMax, hitsMax);
  const found = await searchByV1(reach, { ...options, domain, words, countMax });
  if (found !== undefined) return found.slice(0, countMax);
  return (await searchCatalog(reach, { ...options, domain, words })).slice(0, countMax);
}

/** Tells the registry from the words, as references do. */
export function splitTerm(term: string): { readonly domain: string; readonly words: string } {
  if (term.includes("://")) {
    throw new EngineError(
      "invalid-argument",
      `invalid repository name: repository name (${term}) should not have a scheme`,
    );
  }
  const slash = term.indexOf("/");
  const first = slash < 0 ? "" : term.slice(0, slash);
  if (first !== "localhost" && !/[.:]/.test(first)) {
    return { domain: defaultDomain, words: term.replace(/^library\//, "") };
  }
  const isOfficial = first === defaultDomain || first === searchHost;
  const words = term.slice(slash + 1);
  return isOfficial
    ? { domain: defaultDomain, words: words.replace(/^library\//, "") }
    : { domain: first, words };
}

interface Search {
  readonly domain: string;
  readonly words: string;
  readonly countMax: number;
  readonly call: RegistryCall;
}

/** @returns undefined when the registry has no such search */
async function searchByV1(
  reach: RegistryReach,
  search: Search,
): Promise<readonly SearchHit[] | undefined> {
  const { domain, words, countMax, call } = search;
  const base =
    domain === defaultDomain
      ? new URL(`https://${searchHost}/`)
      : (await reach.openSession(domain, call.signal)).endpoint.url;
  const url = new URL("v1/search", base);
  url.searchParams.set("q", words);
  url.searchParams.set("n", `${countMax}`);
  const basic = basicAuthorization(call.credentials);
  const answer = await sendFollowing(reach.transport, {
    method: "GET",
    url,
    headers: basic === undefined ? {} : { authorization: basic },
    signal: call.signal,
  });
  if (answer.status !== 200) {
    answer.close();
    if (domain !== defaultDomain) return undefined;
    throw unexpected(answer.status);
  }
  const limits = { sizeMaxBytes: distributionDocumentMaxBytes, what: "search result" };
  return decodeSearch(await readAnswer(answer, limits));
}

async function searchCatalog(reach: RegistryReach, search: Search): Promise<readonly SearchHit[]> {
  const { domain, words, call } = search;
  const session = await reach.openSession(domain, call.signal);
  try {
    const { isThere, entries } = await readPages(session, {
      request: {
        method: "GET",
        path: "v2/_catalog?n=1000",
        scopes: ["registry:catalog:*"],
        credentials: call.credentials,
        signal: call.signal,
        taken: [404, 405],
      },
      decode: decodeCatalog,
    });
    if (!isThere) throw unexpected(404);
    return entries
      .filter((name) => name.includes(words))
      .map((name) => ({
        name,
        description: "",
        starCount: 0,
        isOfficial: false,
        isAutomated: false,
      }));
  } catch (error) {
    if (isKind(error, "permission-denied")) throw unexpected(403);
    throw error;
  }
}

function unexpected(status: number): EngineError {
  return new EngineError("internal", `Unexpected status code ${status}`);
}
