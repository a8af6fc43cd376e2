/**
 * Bearer tokens: signed statements of what their holder may do.
 *
 * @see Docker Registry HTTP API V2, "Token Authentication Specification" and "JSON Web Token"
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomUUID,
  X509Certificate,
} from "node:crypto";
import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify, SignJWT } from "jose";
import { EngineError, messageOf } from "../../lib/errors.ts";

/** How long a token is good. */
export const tokenLifetimeS = 300;
/** How far clocks may differ. */
const clockSkewS = 60;
/** Certificates a token may bring along. */
const chainMax = 5;
/** Entries of a token's list of access. */
const accessMax = 1_000;
/** Longest token; a header is bounded too. */
const tokenMaxLength = 32 * 1024;

const algorithms = ["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "EdDSA"];

/** What a token grants. */
export interface Access {
  /** `repository` or `registry`. */
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/** A token that was checked. */
export interface TokenClaims {
  /** Undefined for a token that was given to nobody in particular. */
  readonly subject: string | undefined;
  readonly access: readonly Access[];
}

/** Says who issues tokens, and for whom. */
export interface TokenTerms {
  readonly issuer: string;
  /** The registry's own name: a token for another is no good here. */
  readonly service: string;
}

/** Makes tokens. */
export interface TokenSigner {
  sign(claims: TokenClaims): Promise<{ readonly token: string; readonly issuedMs: number }>;
  readonly publicKey: KeyObject;
}

/** Checks tokens. @throws unauthorized */
export type TokenVerifier = (token: string) => Promise<TokenClaims>;

/** Reads a private key (PEM: EC on P-256, or RSA of 2048 bits or more). @throws invalid-argument */
export function openTokenSigner(pem: string | Buffer, terms: TokenTerms): TokenSigner {
  const key = readKey(() => createPrivateKey(pem));
  const algorithm = algorithmOf(key);
  const publicKey = createPublicKey(key);
  const kid = keyId(publicKey);
  return {
    publicKey,
    async sign({ subject, access }) {
      const issuedMs = Date.now();
      const issuedS = Math.floor(issuedMs / 1000);
      const token = await new SignJWT({ access })
        .setProtectedHeader({ typ: "JWT", alg: algorithm, kid })
        .setIssuer(terms.issuer)
        .setSubject(subject ?? "")
        .setAudience(terms.service)
        .setIssuedAt(issuedS)
        .setNotBefore(issuedS - 10)
        .setExpirationTime(issuedS + tokenLifetimeS)
        .setJti(randomUUID())
        .sign(key);
      return { token, issuedMs };
    },
  };
}

/** What signatures are checked with. */
export interface TokenTrust {
  readonly keys: readonly KeyObject[];
  /** Issuers of certificates that tokens bring along; their own keys are trusted as well. */
  readonly certificates: readonly X509Certificate[];
}

/** Reads the certificates (and public keys) of a PEM file. @throws invalid-argument when it has none */
export function parseTrust(pem: string): TokenTrust {
  const blocks = pem.match(/-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g) ?? [];
  const certificates = blocks
    .filter((block) => block.includes("BEGIN CERTIFICATE"))
    .map((block) => readKey(() => new X509Certificate(block)));
  const keys = blocks
    .filter((block) => block.includes("PUBLIC KEY"))
    .map((block) => readKey(() => createPublicKey(block)));
  if (certificates.length + keys.length === 0) {
    throw new EngineError("invalid-argument", "token: there is no certificate in the file");
  }
  return { certificates, keys: [...keys, ...certificates.map(({ publicKey }) => publicKey)] };
}

/** Makes what checks tokens: signature, issuer, audience, times. */
export function createTokenVerifier(trust: TokenTrust, terms: TokenTerms): TokenVerifier {
  const byId = new Map(trust.keys.map((key) => [keyId(key), key] as const));
  return async (token) => {
    if (token.length > tokenMaxLength) throw refused("the token is too long");
    try {
      const { kid, x5c } = decodeProtectedHeader(token);
      const named = kid === undefined ? undefined : byId.get(kid);
      const candidates =
        named !== undefined ? [named] : x5c === undefined ? trust.keys : [keyOfChain(x5c, trust)];
      return await verifyWithAny(token, { candidates, terms });
    } catch (error) {
      if (error instanceof EngineError) throw error;
      if (error instanceof errors.JOSEError || error instanceof TypeError) {
        throw refused(messageOf(error), error);
      }
      throw error;
    }
  };
}

async function verifyWithAny(
  token: string,
  options: { readonly candidates: readonly KeyObject[]; readonly terms: TokenTerms },
): Promise<TokenClaims> {
  let failure: unknown = refused("no key is trusted");
  for (const key of options.candidates) {
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms,
        issuer: options.terms.issuer,
        audience: options.terms.service,
        clockTolerance: clockSkewS,
        requiredClaims: ["exp"],
      });
      return claimsOf(payload);
    } catch (error) {
      failure = error;
      const isOtherKey =
        error instanceof errors.JWSSignatureVerificationFailed || error instanceof TypeError;
      if (!isOtherKey) throw error;
    }
  }
  throw failure;
}

/** The key of the first certificate, when the chain leads to one that is trusted. */
function keyOfChain(chain: readonly string[], trust: TokenTrust): KeyObject {
  if (!Array.isArray(chain) || chain.length === 0 || chain.length > chainMax) {
    throw refused("the token's chain of certificates is refused");
  }
  const certificates = chain.map(certificateOf);
  const now = Date.now();
  const isValid = (one: X509Certificate): boolean =>
    Date.parse(one.validFrom) <= now && now <= Date.parse(one.validTo);
  for (const [index, certificate] of certificates.entries()) {
    if (!isValid(certificate)) throw refused("a certificate of the token is not valid now");
    const isTrusted = trust.certificates.some(
      (root) =>
        root.fingerprint256 === certificate.fingerprint256 ||
        (root.ca &&
          isValid(root) &&
          certificate.checkIssued(root) &&
          certificate.verify(root.publicKey)),
    );
    const [leaf] = certificates;
    if (isTrusted && leaf !== undefined) return leaf.publicKey;
    const next = certificates[index + 1];
    const isIssued =
      next?.ca === true && certificate.checkIssued(next) && certificate.verify(next.publicKey);
    if (!isIssued) break;
  }
  throw refused("the token's certificate is not trusted");
}

function certificateOf(text: unknown): X509Certificate {
  try {
    return new X509Certificate(Buffer.from(String(text), "base64"));
  } catch (error) {
    throw refused("the token brings something that is no certificate", error);
  }
}

function claimsOf(payload: JWTPayload): TokenClaims {
  const list: unknown = payload["access"] ?? [];
  if (!Array.isArray(list) || list.length > accessMax)
    throw refused("the token's access is no list");
  const access = list.map((item: unknown): Access => {
    const entry = (typeof item === "object" && item !== null ? item : {}) as Record<
      string,
      unknown
    >;
    const { type, name, actions } = entry;
    if (typeof type !== "string" || typeof name !== "string" || !Array.isArray(actions)) {
      throw refused("the token's access has an entry that is none");
    }
    return { type, name, actions: actions.filter((one) => typeof one === "string") };
  });
  const subject = payload.sub === undefined || payload.sub === "" ? undefined : payload.sub;
  return { subject, access };
}

/**
 * The name of a key as Docker's registry computes it: base32 of the first 240 bits of the SHA-256 of
 * its DER form, in groups of four.
 */
export function keyId(key: KeyObject): string {
  const der = key.export({ type: "spki", format: "der" });
  const bits = createHash("sha256").update(der).digest().subarray(0, 30);
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  let text = "";
  for (let at = 0; at < 240; at += 5) {
    const two = ((bits[at >> 3] ?? 0) << 8) | (bits[(at >> 3) + 1] ?? 0);
    text += alphabet[(two >> (11 - (at & 7))) & 31] ?? "";
  }
  return (text.match(/.{4}/g) ?? []).join(":");
}

function algorithmOf(key: KeyObject): string {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === "ec" && details?.namedCurve === "prime256v1") return "ES256";
  if (key.asymmetricKeyType === "rsa" && (details?.modulusLength ?? 0) >= 2048) return "RS256";
  throw new EngineError(
    "invalid-argument",
    "token key: an EC key on P-256, or an RSA key of 2048 bits or more is wanted",
  );
}

function readKey<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new EngineError("invalid-argument", `token key: ${messageOf(error)}`, { cause: error });
  }
}

function refused(why: string, cause?: unknown): EngineError {
  return new EngineError("unauthorized", why, { cause });
}
