/**
 * The policy file: which images may come in and run.
 *
 * It is the `policy.json` of containers/image, so that one file serves Tug, Podman and skopeo. Of its
 * requirements Tug knows `insecureAcceptAnything`, `reject` and `sigstoreSigned` with a key; any other
 * is refused when the file is read, never passed over.
 *
 * @see containers-policy.json(5)
 */
import { readFileSync } from "node:fs";
import type { KeyObject } from "node:crypto";
import { codeOf, EngineError, messageOf } from "../../lib/errors.ts";
import { parsePublicKey } from "../../lib/signing-key.ts";
import { duplicateKeyOf } from "../../lib/json-keys.ts";
import type { Digest } from "../../oci/digest.ts";
import {
  findReference,
  formatReference,
  type Reference,
  referenceName,
} from "../../oci/reference.ts";

/** How the name in a signature must fit the image's. */
export type SignedIdentity =
  /** The same repository, and the same tag where one was signed. Ours where the file says nothing:
   * cosign signs no tags, others do. Of an image asked for by digest the repository alone. */
  | { readonly kind: "matchWhatIsSigned" }
  /** The same repository, whatever the tag. */
  | { readonly kind: "matchRepository" }
  | { readonly kind: "matchExact" }
  /** Exact, unless the image was asked for by digest: then its repository. */
  | { readonly kind: "matchRepoDigestOrExact" }
  /** Whole names (`docker.io/library/busybox:1`). */
  | { readonly kind: "exactReference" | "exactRepository"; readonly name: string }
  /** As `matchWhatIsSigned`, under another name. */
  | { readonly kind: "remapIdentity"; readonly prefix: string; readonly signedPrefix: string };

/** One requirement; all of a scope's must be met. */
export type Requirement =
  | { readonly kind: "accept" }
  | { readonly kind: "reject" }
  | {
      readonly kind: "signed";
      readonly keys: readonly { readonly path: string; readonly key: KeyObject }[];
      readonly identity: SignedIdentity;
    };

/** A scope's requirements, and where in the file they stand. */
export interface Rule {
  /** `default`, or `transports.docker["localhost:5000/team"]`. */
  readonly place: string;
  readonly requirements: readonly Requirement[];
}

/** A policy: rules by transport and scope. */
export interface Policy {
  readonly path: string;
  readonly fallback: Rule;
  /** Images of registries, by scope. */
  readonly registries: ReadonlyMap<string, Rule>;
  /** Images that never were in a registry, by the scopes of transport `docker-daemon`. */
  readonly local: ReadonlyMap<string, Rule>;
}

const policySizeMax = 1024 * 1024;
const scopesMax = 10_000;

type Fields = Readonly<Record<string, unknown>>;

/** Reads a policy file and the keys that it names. @throws invalid-argument with the place in it */
export function readPolicy(path: string): Policy {
  const document = parseObject(readText(path), path);
  const at: Place = { path, where: "default" };
  allowKeys(document, { path, where: "the policy" }, ["default", "transports"]);
  if (document["default"] === undefined) throw refused(at, "a policy must have it");
  const transports = objectAt(document["transports"] ?? {}, { path, where: "transports" });
  const rulesOf = (transport: string): ReadonlyMap<string, Rule> => {
    const where = `transports.${transport}`;
    const scopes = Object.entries(objectAt(transports[transport] ?? {}, { path, where }));
    if (scopes.length > scopesMax) throw refused({ path, where }, `more than ${scopesMax} scopes`);
    return new Map(
      scopes.map(([scope, list]) => [scope, ruleOf(list, { path, where: `${where}["${scope}"]` })]),
    );
  };
  return {
    path,
    fallback: ruleOf(document["default"], at),
    registries: rulesOf("docker"),
    local: rulesOf("docker-daemon"),
  };
}

/** A policy of one sentence: every image must be signed with the key. @throws invalid-argument */
export function requireSigned(keyPath: string): Policy {
  const requirement: Requirement = {
    kind: "signed",
    keys: [readKey(keyPath, { path: keyPath, where: "require-signed" })],
    identity: { kind: "matchWhatIsSigned" },
  };
  return {
    path: keyPath,
    fallback: { place: "require-signed", requirements: [requirement] },
    registries: new Map(),
    local: new Map(),
  };
}

/**
 * The rule for an image of a registry: that of its whole name first, then of its repository, of the
 * folders above it, of the host, of `*.domain`s above the host, of all registries, the default.
 */
export function ruleFor(policy: Policy, reference: Reference): Rule {
  return ruleOfScopes(policy.registries, scopesOf(reference)) ?? policy.fallback;
}

/** The rule for an image that never was in a registry: by its ID, by a name that it has here, by none. */
export function localRuleFor(
  policy: Policy,
  image: { readonly id: Digest; readonly name: Reference | undefined },
): Rule {
  const byName = image.name === undefined ? [""] : scopesOf(image.name);
  return ruleOfScopes(policy.local, [image.id, ...byName]) ?? policy.fallback;
}

function ruleOfScopes(
  rules: ReadonlyMap<string, Rule>,
  scopes: readonly string[],
): Rule | undefined {
  const scope = scopes.find((each) => rules.has(each));
  return scope === undefined ? undefined : rules.get(scope);
}

function scopesOf(reference: Reference): readonly string[] {
  const repository = referenceName(reference);
  const scopes: string[] = [];
  // A tag beside a digest says nothing: the digest alone is what is fetched.
  if (reference.digest !== undefined) scopes.push(`${repository}@${reference.digest}`);
  else if (reference.tag !== undefined) scopes.push(`${repository}:${reference.tag}`);
  for (let at = repository; at.includes("/"); at = at.slice(0, at.lastIndexOf("/")))
    scopes.push(at);
  scopes.push(reference.domain);
  for (let at = reference.domain; at.includes("."); ) {
    at = at.slice(at.indexOf(".") + 1);
    scopes.push(`*.${at}`);
  }
  return [...scopes, ""];
}

/** Tells whether a name that was signed may stand for the image. */
export function isIdentityMet(
  identity: SignedIdentity,
  { signed, image }: { readonly signed: Reference; readonly image: Reference },
): boolean {
  const isSameRepository = referenceName(signed) === referenceName(image);
  const isByDigest = image.digest !== undefined;
  const isExact =
    isSameRepository && !isByDigest && signed.tag !== undefined && signed.tag === image.tag;
  const isWhatIsSigned = signed.tag === undefined || isByDigest || signed.tag === image.tag;
  switch (identity.kind) {
    case "matchWhatIsSigned":
      return isSameRepository && isWhatIsSigned;
    case "matchRepository":
      return isSameRepository;
    case "matchExact":
      return isExact;
    case "matchRepoDigestOrExact":
      return isByDigest ? isSameRepository : isExact;
    case "exactRepository":
      return referenceName(signed) === identity.name;
    case "exactReference":
      return formatReference(signed) === identity.name;
    case "remapIdentity":
      return referenceName(signed) === remapped(referenceName(image), identity) && isWhatIsSigned;
  }
}

function remapped(
  repository: string,
  { prefix, signedPrefix }: { readonly prefix: string; readonly signedPrefix: string },
): string {
  const isBelow = repository === prefix || repository.startsWith(`${prefix}/`);
  return isBelow ? signedPrefix + repository.slice(prefix.length) : repository;
}

interface Place {
  readonly path: string;
  readonly where: string;
}

function ruleOf(list: unknown, at: Place): Rule {
  if (!Array.isArray(list) || list.length === 0)
    throw refused(at, "a list of requirements is wanted");
  return {
    place: at.where,
    requirements: list.map((item: unknown, index) =>
      requirementOf(objectAt(item, at), { ...at, where: `${at.where}[${index}]` }),
    ),
  };
}

function requirementOf(fields: Fields, at: Place): Requirement {
  switch (fields["type"]) {
    case "insecureAcceptAnything":
      allowKeys(fields, at, ["type"]);
      return { kind: "accept" };
    case "reject":
      allowKeys(fields, at, ["type"]);
      return { kind: "reject" };
    case "sigstoreSigned":
      allowKeys(fields, at, ["type", "keyPath", "keyPaths", "keyData", "signedIdentity"]);
      return { kind: "signed", keys: keysOf(fields, at), identity: identityOf(fields, at) };
    default:
      throw refused(
        at,
        `type ${JSON.stringify(fields["type"])} is not one of "insecureAcceptAnything", "reject", "sigstoreSigned"`,
      );
  }
}

function keysOf(
  fields: Fields,
  at: Place,
): readonly { readonly path: string; readonly key: KeyObject }[] {
  const { keyPath, keyPaths, keyData } = fields;
  const given = [keyPath, keyPaths, keyData].filter((value) => value !== undefined);
  if (given.length !== 1) throw refused(at, "exactly one of keyPath, keyPaths, keyData is wanted");
  if (typeof keyData === "string") {
    const key = parsePublicKey(Buffer.from(keyData, "base64").toString("utf8"));
    return [{ path: `${at.where}.keyData`, key }];
  }
  const paths: readonly unknown[] = Array.isArray(keyPaths) ? keyPaths : [keyPath];
  if (paths.length === 0) throw refused(at, "keyPaths is empty");
  return paths.map((path) => {
    if (typeof path !== "string") throw refused(at, "the path of a key is wanted");
    return readKey(path, at);
  });
}

function readKey(path: string, at: Place): { readonly path: string; readonly key: KeyObject } {
  try {
    return { path, key: parsePublicKey(readText(path)) };
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw refused(at, `key ${path}: ${error.message}`, error);
  }
}

function identityOf(fields: Fields, at: Place): SignedIdentity {
  if (fields["signedIdentity"] === undefined) return { kind: "matchWhatIsSigned" };
  const where = `${at.where}.signedIdentity`;
  const identity = objectAt(fields["signedIdentity"], { ...at, where });
  const text = (key: string): string => {
    const value = identity[key];
    if (typeof value !== "string" || value === "")
      throw refused({ ...at, where }, `${key} is missing`);
    return value;
  };
  const named = (key: string, isWhole: boolean): Reference => {
    const reference = findReference(text(key));
    const isOne = reference !== undefined && (reference.tag ?? reference.digest) !== undefined;
    if (reference !== undefined && isOne === isWhole) return reference;
    const wanted = isWhole ? "a name with a tag or a digest" : "a name without tag and digest";
    throw refused({ ...at, where }, `${key} is not ${wanted}`);
  };
  switch (identity["type"]) {
    case "matchRepository":
    case "matchExact":
    case "matchRepoDigestOrExact":
      return { kind: identity["type"] };
    case "exactReference":
      return { kind: "exactReference", name: formatReference(named("dockerReference", true)) };
    case "exactRepository":
      return { kind: "exactRepository", name: referenceName(named("dockerRepository", false)) };
    case "remapIdentity":
      return { kind: "remapIdentity", prefix: text("prefix"), signedPrefix: text("signedPrefix") };
    default:
      throw refused({ ...at, where }, `type ${JSON.stringify(identity["type"])} is not known`);
  }
}

function readText(path: string): string {
  try {
    const text = readFileSync(path, "utf8");
    if (text.length > policySizeMax) {
      throw new EngineError(
        "invalid-argument",
        `read ${path}: longer than ${policySizeMax} characters`,
      );
    }
    return text;
  } catch (error) {
    if (error instanceof EngineError) throw error;
    const reason = codeOf(error) === "ENOENT" ? "no such file" : messageOf(error);
    throw new EngineError("invalid-argument", `read ${path}: ${reason}`, { cause: error });
  }
}

function parseObject(text: string, path: string): Fields {
  try {
    const document = objectAt(JSON.parse(text) as unknown, { path, where: "the policy" });
    const key = duplicateKeyOf(text);
    if (key === undefined) return document;
    throw refused({ path, where: "the policy" }, `${JSON.stringify(key)} is there twice`);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new EngineError("invalid-argument", `read ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function objectAt(value: unknown, at: Place): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  throw refused(at, "an object is wanted");
}

/** What is not understood could have been a restriction. */
function allowKeys(fields: Fields, at: Place, keys: readonly string[]): void {
  const other = Object.keys(fields).find((key) => !keys.includes(key));
  if (other !== undefined) throw refused(at, `${JSON.stringify(other)} is not known`);
}

function refused({ path, where }: Place, reason: string, cause?: unknown): EngineError {
  return new EngineError("invalid-argument", `read ${path}: ${where}: ${reason}`, { cause });
}
