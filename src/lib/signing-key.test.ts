import { describe, expect, test } from "bun:test";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import {
  generateKeyPair,
  openPrivateKey,
  parsePublicKey,
  signBytes,
  verifyBytes,
} from "./signing-key.ts";

const text = Buffer.from("what is signed");

describe("a pair that is made here", () => {
  const pair = generateKeyPair("pass");
  const publicKey = parsePublicKey(pair.publicKey);

  test("signs what its public key verifies, and nothing else", () => {
    const signature = signBytes(openPrivateKey(pair.privateKey, "pass"), text);
    expect(verifyBytes(publicKey, { bytes: text, signature })).toBe(true);
    expect(verifyBytes(publicKey, { bytes: Buffer.from("other"), signature })).toBe(false);
    expect(verifyBytes(publicKey, { bytes: text, signature: "AAAA" })).toBe(false);
    const other = parsePublicKey(generateKeyPair("").publicKey);
    expect(verifyBytes(other, { bytes: text, signature })).toBe(false);
  });

  test("is sealed: the wrong password does not open it, and no key stands in the file", () => {
    expect(() => openPrivateKey(pair.privateKey, "no")).toThrow("the password is wrong");
    expect(pair.privateKey).toStartWith("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n");
    expect(pair.privateKey).not.toContain("BEGIN PRIVATE KEY");
  });
});

test("plain keys of other kinds sign as well", () => {
  for (const made of [
    generateKeyPairSync("ed25519"),
    generateKeyPairSync("rsa", { modulusLength: 2048 }),
    generateKeyPairSync("ec", { namedCurve: "P-384" }),
  ]) {
    const key = openPrivateKey(
      String(made.privateKey.export({ format: "pem", type: "pkcs8" })),
      "",
    );
    const open = parsePublicKey(String(made.publicKey.export({ format: "pem", type: "spki" })));
    expect(verifyBytes(open, { bytes: text, signature: signBytes(key, text) })).toBe(true);
  }
});

test("a PEM with a password of its own opens with it", () => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const cipher = { cipher: "aes-256-cbc", passphrase: "pass" };
  const file = String(privateKey.export({ format: "pem", type: "pkcs8", ...cipher }));
  expect(file).toContain("BEGIN ENCRYPTED PRIVATE KEY");
  const signature = signBytes(openPrivateKey(file, "pass"), text);
  expect(verifyBytes(publicKey, { bytes: text, signature })).toBe(true);
  for (const wrong of ["no", ""]) {
    expect(() => openPrivateKey(file, wrong)).toThrow(/^read private key: /);
  }
});

describe("a key that signs no images is refused, with what it is", () => {
  for (const [name, made, reason] of [
    ["one to agree on keys", () => generateKeyPairSync("x25519"), "it is a key of type x25519"],
    [
      "a short one",
      () => generateKeyPairSync("rsa", { modulusLength: 1024 }),
      "the RSA key has 1024 bits, at least 2048 are wanted",
    ],
  ] as const) {
    test(name, () => {
      const { privateKey, publicKey } = made();
      const secret = String(privateKey.export({ format: "pem", type: "pkcs8" }));
      const open = String(publicKey.export({ format: "pem", type: "spki" }));
      expect(() => openPrivateKey(secret, "")).toThrow(`read private key: ${reason}`);
      expect(() => parsePublicKey(open)).toThrow(`read public key: ${reason}`);
    });
  }
});

describe("what is no key is refused with a sentence", () => {
  const sealed = (document: unknown): string =>
    `-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\n${Buffer.from(JSON.stringify(document)).toString("base64")}\n-----END ENCRYPTED COSIGN PRIVATE KEY-----\n`;
  const kdf = { name: "scrypt", params: { N: 2, r: 8, p: 1 }, salt: "AAAA" };
  const cipher = { name: "nacl/secretbox", nonce: randomBytes(24).toString("base64") };
  for (const [name, file] of [
    ["nothing", ""],
    ["noise", "x".repeat(1000)],
    ["a file that is too long", "x".repeat(100_000)],
    ["JSON of another kind", sealed([])],
    ["another cipher", sealed({ kdf, cipher: { ...cipher, name: "none" }, ciphertext: "AAAA" })],
    ["another derivation", sealed({ kdf: { ...kdf, name: "md5" }, cipher, ciphertext: "AAAA" })],
    ["a short nonce", sealed({ kdf, cipher: { ...cipher, nonce: "AAAA" }, ciphertext: "AAAA" })],
    [
      "a cost beyond all memory",
      sealed({ kdf: { ...kdf, params: { N: 2 ** 30, r: 8, p: 1 } }, cipher, ciphertext: "AAAA" }),
    ],
    [
      "a cost that is no power of two",
      sealed({ kdf: { ...kdf, params: { N: 3, r: 8, p: 1 } }, cipher, ciphertext: "AAAA" }),
    ],
    [
      "a cost that is text",
      sealed({ kdf: { ...kdf, params: { N: "2", r: 8, p: 1 } }, cipher, ciphertext: "AAAA" }),
    ],
  ] as const) {
    test(name, () => {
      expect(() => openPrivateKey(file, "")).toThrow(/^(read|open) private key: /);
    });
  }

  test("a private key where a public one is wanted", () => {
    expect(() => parsePublicKey(generateKeyPair("").privateKey)).toThrow("not a public key in PEM");
  });
});
