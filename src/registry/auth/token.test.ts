import { afterAll, describe, expect, test } from "bun:test";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SignJWT } from "jose";
import { run } from "../../sys/process/process.ts";
import { parseAccessRules } from "./access-rules.ts";
import { grant, parseScope } from "./token-server.ts";
import { createTokenVerifier, keyId, openTokenSigner, parseTrust } from "./token.ts";

const terms = { issuer: "the issuer", service: "the registry" };
const pemOf = (kind: "ec" | "rsa" | "small" | "p384"): string => {
  const { privateKey } =
    kind === "ec" || kind === "p384"
      ? generateKeyPairSync("ec", { namedCurve: kind === "ec" ? "P-256" : "P-384" })
      : generateKeyPairSync("rsa", { modulusLength: kind === "rsa" ? 2048 : 1024 });
  return String(privateKey.export({ type: "pkcs8", format: "pem" }));
};
const access = [{ type: "repository", name: "a/b", actions: ["pull", "push"] }];

describe("tokens", () => {
  test.each(["ec", "rsa"] as const)("signed with a key of kind %p are taken", async (kind) => {
    const signer = openTokenSigner(pemOf(kind), terms);
    const { token } = await signer.sign({ subject: "ann", access });
    const verify = createTokenVerifier({ keys: [signer.publicKey], certificates: [] }, terms);
    expect(await verify(token)).toEqual({ subject: "ann", access });
    const nobody = await signer.sign({ subject: undefined, access: [] });
    expect(await verify(nobody.token)).toEqual({ subject: undefined, access: [] });
  });

  test.each(["small", "p384"] as const)("a key of kind %p is refused", (kind) => {
    expect(() => openTokenSigner(pemOf(kind), terms)).toThrow("P-256");
  });

  test("what is no key is refused", () => {
    expect(() => openTokenSigner("nonsense", terms)).toThrow("token key");
    expect(() => parseTrust("nonsense")).toThrow("no certificate");
  });

  const pem = pemOf("ec");
  const signer = openTokenSigner(pem, terms);
  const verify = createTokenVerifier({ keys: [signer.publicKey], certificates: [] }, terms);
  const key = createPublicKey(pem) && pem;
  const forge = async (options: {
    readonly issuer?: string;
    readonly audience?: string;
    readonly expiresS?: number;
    readonly access?: unknown;
    readonly key?: string;
    readonly startsS?: number;
  }): Promise<string> => {
    const { createPrivateKey } = await import("node:crypto");
    const nowS = Math.floor(Date.now() / 1000);
    const made = new SignJWT({ access: options.access ?? access })
      .setProtectedHeader({ alg: "ES256" })
      .setIssuer(options.issuer ?? terms.issuer)
      .setAudience(options.audience ?? terms.service)
      .setNotBefore(options.startsS ?? nowS - 10);
    if (options.expiresS !== 0) made.setExpirationTime(options.expiresS ?? nowS + 60);
    return await made.sign(createPrivateKey(options.key ?? key));
  };
  const nowS = Math.floor(Date.now() / 1000);

  test("without a key's name every trusted key is tried", async () => {
    expect((await verify(await forge({}))).access).toEqual(access);
  });

  test.each([
    ["another issuer", { issuer: "x" }],
    ["another service", { audience: "x" }],
    ["over", { expiresS: nowS - 120 }],
    ["not yet", { startsS: nowS + 120 }],
    ["for ever", { expiresS: 0 }],
    ["another key", { key: pemOf("ec") }],
    ["access of another form", { access: [{ type: 1 }] }],
    ["access that is no list", { access: "all" }],
  ])("a token of %p is refused", async (_name, options) => {
    await expect(verify(await forge(options))).rejects.toMatchObject({ kind: "unauthorized" });
  });

  test.each([
    "",
    "x",
    "a.b.c",
    "....",
    `${"x".repeat(40_000)}`,
    // {"alg":"none"} and {"alg":"HS256"}: unsigned, and signed with what everybody knows
    `eyJhbGciOiJub25lIn0.${btoa('{"access":[]}')}.`,
    `eyJhbGciOiJIUzI1NiJ9.${btoa('{"access":[]}')}.AAAA`,
    // {"alg":"ES256","x5c":[]} and {"alg":"ES256","x5c":["AA=="]}
    `${btoa('{"alg":"ES256","x5c":[]}')}.e30.AAAA`,
    `${btoa('{"alg":"ES256","x5c":["AA=="]}')}.e30.AAAA`,
    `${btoa('{"alg":"ES256","x5c":7}')}.e30.AAAA`,
  ])("%p is refused", async (token) => {
    await expect(verify(token)).rejects.toMatchObject({ kind: "unauthorized" });
  });

  test("a changed byte is found", async () => {
    const { token } = await signer.sign({ subject: "ann", access });
    const [head = "", body = "", signature = ""] = token.split(".");
    const other = Buffer.from(body, "base64url").toString().replace("ann", "eve");
    const forged = [head, Buffer.from(other).toString("base64url"), signature].join(".");
    await expect(verify(forged)).rejects.toMatchObject({ kind: "unauthorized" });
  });
});

describe("an outside issuer", () => {
  const folder = mkdtempSync(join(tmpdir(), "tug-token-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const at = (name: string): string => join(folder, name);
  const openssl = async (...args: readonly string[]): Promise<void> => {
    const done = await run({ argv: ["openssl", ...args] });
    if (done.exitCode !== 0) throw new Error(done.stderr);
  };
  const make = async (name: string, ...flags: readonly string[]): Promise<void> =>
    await openssl(
      ...["req", "-x509", "-days", "2", "-nodes", "-subj", `/CN=${name}`],
      ...["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
      ...["-keyout", at(`${name}.key`), "-out", at(`${name}.pem`), ...flags],
    );

  test("is known by its certificate, or by one that leads there", async () => {
    await make("root");
    const leaf = ["-CA", at("root.pem"), "-CAkey", at("root.key")];
    await make("leaf", ...leaf, "-addext", "basicConstraints=critical,CA:false");
    await make("stranger");
    const trust = parseTrust(readFileSync(at("root.pem"), "utf8"));
    const verify = createTokenVerifier(trust, terms);
    const chain = (name: string): string =>
      readFileSync(at(`${name}.pem`), "utf8").replace(/-----[^-]+-----|\s/g, "");
    const { createPrivateKey } = await import("node:crypto");
    const sign = async (name: string, x5c?: readonly string[]): Promise<string> =>
      await new SignJWT({ access })
        .setProtectedHeader({ alg: "ES256", ...(x5c === undefined ? {} : { x5c: [...x5c] }) })
        .setIssuer(terms.issuer)
        .setAudience(terms.service)
        .setExpirationTime("1m")
        .sign(createPrivateKey(readFileSync(at(`${name}.key`))));
    expect((await verify(await sign("root"))).access).toEqual(access);
    expect((await verify(await sign("root", [chain("root")]))).access).toEqual(access);
    expect((await verify(await sign("leaf", [chain("leaf")]))).access).toEqual(access);
    for (const [name, x5c] of [
      ["stranger", [chain("stranger")]],
      ["stranger", [chain("leaf")]],
      ["stranger", [chain("stranger"), chain("root")]],
      // What the leaf signed is not an authority's.
      ["stranger", [chain("stranger"), chain("leaf"), chain("root")]],
      ["leaf", Array(6).fill(chain("leaf"))],
    ] as const) {
      await expect(verify(await sign(name, x5c))).rejects.toMatchObject({ kind: "unauthorized" });
    }
  });
});

test("a key is named as Docker's registry names it", () => {
  const id = keyId(openTokenSigner(pemOf("ec"), terms).publicKey);
  expect(id).toMatch(/^(?:[A-Z2-7]{4}:){11}[A-Z2-7]{4}$/);
});

describe("scopes", () => {
  test.each([
    ["repository:a/b:pull", { type: "repository", name: "a/b", actions: ["pull"] }],
    ["repository:a:pull,push", { type: "repository", name: "a", actions: ["pull", "push"] }],
    ["repository(plugin):a:pull", { type: "repository", name: "a", actions: ["pull"] }],
    ["registry:catalog:*", { type: "registry", name: "catalog", actions: ["*"] }],
    ["repository:A:pull", undefined],
    ["repository:../x:pull", undefined],
    ["repository::pull", undefined],
    ["repository:a", undefined],
    ["x:a:pull", undefined],
    [":::", undefined],
    ["", undefined],
  ])("%p is read", (text, expected) => expect(parseScope(text)).toEqual(expected));

  test("no more is granted than the rules say", () => {
    const rules = parseAccessRules("ann ** pull,push\nanonymous open pull");
    const wishes = ["repository:a:pull,push,delete repository:b:*", "registry:catalog:*", "junk"];
    expect(grant(wishes, { user: "ann", rules })).toEqual([
      { type: "repository", name: "a", actions: ["pull", "push"] },
      { type: "repository", name: "b", actions: ["pull", "push"] },
      { type: "registry", name: "catalog", actions: ["*"] },
    ]);
    expect(grant([...wishes, "repository:open:pull,push"], { user: undefined, rules })).toEqual([
      { type: "repository", name: "open", actions: ["pull"] },
    ]);
    const many = Array<string>(101).fill("repository:a:pull");
    expect(() => grant(many, { user: "ann", rules })).toThrow("more than 100");
  });
});
