import { EngineError } from "../lib/errors.ts";
import { type Digest, parseDigest } from "./digest.ts";

/**
 * A parsed image name, normalised: "busybox" is { docker.io, library/busybox }.
 *
 * @see distribution/reference, "Grammar"
 */
export interface Reference {
  readonly domain: string;
  readonly path: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/** The registry that is meant when none is named. */
export const defaultDomain = "docker.io";
/** The tag that is meant when neither tag nor digest is named. */
export const defaultTag = "latest";
/** Longest path of a repository. */
export const repositoryPathMaxLength = 255;

const legacyDefaultDomain = "index.docker.io";
const officialPrefix = "library/";
/** Nothing longer can be a reference; keeps the expressions from long hostile text. */
const referenceMaxLength = 4_096;

const domainComponent = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const host = `(?:${domainComponent}(?:\\.${domainComponent})*|\\[[a-fA-F0-9:]+\\])`;
const domainPattern = `${host}(?::[0-9]+)?`;
const pathComponent = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const pathPattern = `${pathComponent}(?:/${pathComponent})*`;
const tagPattern = "[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}";
const digestPattern = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
const whole = new RegExp(
  `^((${domainPattern})/${pathPattern})(?::(${tagPattern}))?(?:@(${digestPattern}))?$`,
);
const wholeTag = new RegExp(`^${tagPattern}$`);
const fullId = /^[a-f0-9]{64}$/;

/**
 * Reads an image name as people write it.
 *
 * @throws invalid-argument with Docker's sentence
 */
export function parseReference(text: string): Reference {
  if (fullId.test(text)) {
    throw refused(`invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);
  }
  if (text.length > referenceMaxLength) throw refused("invalid reference format");
  const { domain, rest } = splitDomain(text);
  const colon = rest.indexOf(":");
  const remote = colon < 0 ? rest : rest.slice(0, colon);
  if (remote.toLowerCase() !== remote) {
    throw refused(`invalid reference format: repository name (${remote}) must be lowercase`);
  }
  return parseWhole(`${domain}/${rest}`);
}

/** Reads a reference; undefined when it is none. */
export function findReference(text: string): Reference | undefined {
  try {
    return parseReference(text);
  } catch (error) {
    if (error instanceof EngineError && error.kind === "invalid-argument") return undefined;
    throw error;
  }
}

/** The name without tag and digest: "docker.io/library/busybox". */
export function referenceName(reference: Reference): string {
  return `${reference.domain}/${reference.path}`;
}

/** The whole normalised reference: "docker.io/library/busybox:1@sha256:…". */
export function formatReference(reference: Reference): string {
  return referenceName(reference) + suffixOf(reference);
}

/** The name as people write it: "busybox", "user/app", "ghcr.io/user/app". */
export function familiarName(reference: Reference): string {
  const { domain, path } = reference;
  if (domain !== defaultDomain) return `${domain}/${path}`;
  const rest = path.startsWith(officialPrefix) ? path.slice(officialPrefix.length) : path;
  return rest.includes("/") ? path : rest;
}

/** The whole reference as people write it: "busybox:latest". */
export function familiarString(reference: Reference): string {
  return familiarName(reference) + suffixOf(reference);
}

/**
 * Replaces the tag; the digest goes.
 *
 * @throws invalid-argument "invalid tag format"
 */
export function withTag(reference: Reference, tag: string): Reference {
  if (!isTag(tag)) throw refused("invalid tag format");
  return { domain: reference.domain, path: reference.path, tag };
}

/** Replaces the digest; the tag goes. */
export function withDigest(reference: Reference, digest: Digest): Reference {
  return { domain: reference.domain, path: reference.path, digest };
}

/** Adds "latest" when there is neither tag nor digest. */
export function withDefaultTag(reference: Reference): Reference {
  const isBare = reference.tag === undefined && reference.digest === undefined;
  return isBare ? { ...reference, tag: defaultTag } : reference;
}

/** Tells whether `text` may stand as a tag. */
export function isTag(text: string): boolean {
  return wholeTag.test(text);
}

/** Tells whether `text` could be an image ID or the beginning of one, with or without "sha256:". */
export function isIdPrefix(text: string): boolean {
  return /^(?:sha256:)?[a-f0-9]{1,64}$/.test(text);
}

/** Tells whether `text` is a whole ID: 64 hexadecimal digits. */
export function isFullId(text: string): boolean {
  return fullId.test(text);
}

function suffixOf(reference: Reference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  return reference.digest === undefined ? tag : `${tag}@${reference.digest}`;
}

function splitDomain(text: string): { domain: string; rest: string } {
  const slash = text.indexOf("/");
  if (slash < 0) return { domain: defaultDomain, rest: officialPrefix + text };
  const first = text.slice(0, slash);
  const rest = text.slice(slash + 1);
  if (first === legacyDefaultDomain) return official(rest);
  const isDomain = first === "localhost" || /[.:]/.test(first) || first.toLowerCase() !== first;
  if (!isDomain) return official(text);
  return first === defaultDomain ? official(rest) : { domain: first, rest };
}

function official(rest: string): { domain: string; rest: string } {
  return { domain: defaultDomain, rest: rest.includes("/") ? rest : officialPrefix + rest };
}

function parseWhole(text: string): Reference {
  const match = whole.exec(text);
  if (match === null) {
    if (whole.test(text.toLowerCase())) {
      throw refused("invalid reference format: repository name must be lowercase");
    }
    throw refused("invalid reference format");
  }
  const [, name = "", domain = "", tag, digest] = match;
  const path = name.slice(domain.length + 1);
  if (path.length > repositoryPathMaxLength) {
    throw refused(`repository name must not be more than ${repositoryPathMaxLength} characters`);
  }
  return {
    domain,
    path,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest: parseDigest(digest) }),
  };
}

function refused(sentence: string): EngineError {
  return new EngineError("invalid-argument", sentence);
}
