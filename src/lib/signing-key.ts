/**
 * Keys that sign, in the files that cosign and its relatives read and write.
 *
 * A private key is PKCS #8, sealed with a password: scrypt makes the key of an XSalsa20-Poly1305 box,
 * whose parameters stand beside it as JSON, in base64, between PEM lines. A public key is plain PEM.
 *
 * @see sigstore/cosign, KEY_MANAGEMENT; go-securesystemslib, encrypted
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  scryptSync,
  sign,
  verify,
} from "node:crypto";
import { xsalsa20poly1305 } from "@noble/ciphers/salsa.js";
import { EngineError, messageOf } from "./errors.ts";

/** What the two lines around a sealed key name; the second is cosign's older word. */
const sealedLabels = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"] as const;
const newKeyScrypt = { N: 65_536, r: 8, p: 1 } as const;
/** What a key file may ask of this machine: memory grows with N times r. */
const scryptCostMax = { N: 1_048_576, r: 32, p: 16 } as const;
const scryptMemoryMaxBytes = 512 * 1024 * 1024;
const keyLength = 32;
const saltLength = 32;
const nonceLength = 24;
const keyKinds: readonly string[] = ["ec", "ed25519", "rsa"];
/** As sigstore wants it. */
const rsaMinBits = 2048;
/** No key file is longer. */
const keyFileMaxLength = 64 * 1024;

/** A pair as files hold it. */
export interface KeyPairText {
  readonly privateKey: string;
  readonly publicKey: string;
}

/** Makes an ECDSA P-256 pair; the private key is sealed with the password, which may be empty. */
export function generateKeyPair(password: string): KeyPairText {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const salt = randomBytes(saltLength);
  const nonce = randomBytes(nonceLength);
  const plain = privateKey.export({ format: "der", type: "pkcs8" });
  const boxKey = deriveKey(password, { salt, cost: newKeyScrypt });
  const document = {
    kdf: { name: "scrypt", params: newKeyScrypt, salt: salt.toString("base64") },
    cipher: { name: "nacl/secretbox", nonce: nonce.toString("base64") },
    ciphertext: Buffer.from(xsalsa20poly1305(boxKey, nonce).encrypt(plain)).toString("base64"),
  };
  return {
    privateKey: formatPem(sealedLabels[0], Buffer.from(JSON.stringify(document))),
    publicKey: String(publicKey.export({ format: "pem", type: "spki" })),
  };
}

/**
 * Opens a private key: a sealed one, or PEM, plain or with the password.
 *
 * @throws invalid-argument for a file that is none, and for a key that cannot sign or is too short, permission-denied for a wrong password
 */
export function openPrivateKey(text: string, password: string): KeyObject {
  const body = pemBody(text, sealedLabels);
  try {
    return checkKind(
      body === undefined
        ? createPrivateKey({ key: text, format: "pem", passphrase: password })
        : createPrivateKey({ key: unseal(body, password), format: "der", type: "pkcs8" }),
      "read private key",
    );
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw new EngineError("invalid-argument", `read private key: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Reads a public key in PEM. @throws invalid-argument, also for one that cannot verify or is too short */
export function parsePublicKey(text: string): KeyObject {
  if (text.length > keyFileMaxLength || !text.includes("-----BEGIN PUBLIC KEY-----")) {
    throw new EngineError("invalid-argument", "read public key: not a public key in PEM");
  }
  try {
    return checkKind(createPublicKey(text), "read public key");
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw new EngineError("invalid-argument", `read public key: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Signs bytes: SHA-256 with ECDSA or RSA, or Ed25519. @returns the signature in base64 */
export function signBytes(key: KeyObject, bytes: Uint8Array): string {
  return sign(hashOf(key), bytes, key).toString("base64");
}

/** Tells whether `signature`, in base64, is the key's over the bytes. */
export function verifyBytes(
  key: KeyObject,
  { bytes, signature }: { readonly bytes: Uint8Array; readonly signature: string },
): boolean {
  try {
    return verify(hashOf(key), bytes, key, Buffer.from(signature, "base64"));
  } catch (error) {
    // Bytes that are no signature at all.
    if (error instanceof Error) return false;
    throw error;
  }
}

/** Refuses what no signer of images uses: it would never verify anything, or anybody could sign. */
function checkKind(key: KeyObject, doing: string): KeyObject {
  const { asymmetricKeyType: kind = "unknown", asymmetricKeyDetails: details } = key;
  if (!keyKinds.includes(kind)) {
    throw new EngineError(
      "invalid-argument",
      `${doing}: it is a key of type ${kind}, one of ${keyKinds.join(", ")} is wanted`,
    );
  }
  const bits = details?.modulusLength;
  if (kind === "rsa" && (bits === undefined || bits < rsaMinBits)) {
    throw new EngineError(
      "invalid-argument",
      `${doing}: the RSA key has ${bits ?? "unknown"} bits, at least ${rsaMinBits} are wanted`,
    );
  }
  return key;
}

function hashOf(key: KeyObject): string | null {
  return key.asymmetricKeyType === "ed25519" ? null : "sha256";
}

function unseal(body: Buffer, password: string): Buffer {
  const { kdf, cipher, ciphertext } = decodeSealed(body);
  const boxKey = deriveKey(password, kdf);
  try {
    return Buffer.from(xsalsa20poly1305(boxKey, cipher).decrypt(ciphertext));
  } catch (error) {
    throw new EngineError("permission-denied", "open private key: the password is wrong", {
      cause: error,
    });
  }
}

interface ScryptCost {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

function deriveKey(
  password: string,
  { salt, cost }: { readonly salt: Buffer; readonly cost: ScryptCost },
): Buffer {
  return scryptSync(password, salt, keyLength, { ...cost, maxmem: scryptMemoryMaxBytes });
}

function decodeSealed(body: Buffer): {
  readonly kdf: { readonly salt: Buffer; readonly cost: ScryptCost };
  readonly cipher: Buffer;
  readonly ciphertext: Buffer;
} {
  const document = objectOf(parseJson(body.toString("utf8")));
  const kdf = objectOf(document["kdf"]);
  const cipher = objectOf(document["cipher"]);
  if (kdf["name"] !== "scrypt" || cipher["name"] !== "nacl/secretbox") {
    throw new EngineError(
      "invalid-argument",
      "read private key: it is sealed in another way than scrypt and nacl/secretbox",
    );
  }
  const nonce = bytesOf(cipher["nonce"]);
  if (nonce.length !== nonceLength) throw notSealed();
  return {
    kdf: { salt: bytesOf(kdf["salt"]), cost: costOf(objectOf(kdf["params"])) },
    cipher: nonce,
    ciphertext: bytesOf(document["ciphertext"]),
  };
}

function costOf(params: Readonly<Record<string, unknown>>): ScryptCost {
  const read = (name: "N" | "r" | "p"): number => {
    const value = params[name];
    const isGood = typeof value === "number" && Number.isInteger(value) && value > 0;
    if (!isGood || value > scryptCostMax[name]) throw notSealed();
    return value;
  };
  return { N: read("N"), r: read("r"), p: read("p") };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw notSealed();
    throw error;
  }
}

function notSealed(): EngineError {
  return new EngineError("invalid-argument", "read private key: the sealed key is malformed");
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

function bytesOf(value: unknown): Buffer {
  return Buffer.from(typeof value === "string" ? value : "", "base64");
}

function formatPem(label: string, bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

function pemBody(text: string, labels: readonly string[]): Buffer | undefined {
  if (text.length > keyFileMaxLength) throw notSealed();
  for (const label of labels) {
    const begin = text.indexOf(`-----BEGIN ${label}-----`);
    const end = text.indexOf(`-----END ${label}-----`);
    if (begin < 0 || end < begin) continue;
    return Buffer.from(text.slice(begin + label.length + 16, end), "base64");
  }
  return undefined;
}
