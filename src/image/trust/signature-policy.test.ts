import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import { generateKeyPair, openPrivateKey, signBytes } from "../../lib/signing-key.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { parseReference } from "../../oci/reference.ts";
import { encodePayload, type ImageSignature } from "../../oci/simple-signing.ts";
import type { ImageUse } from "../image-policy.ts";
import { type Policy, readPolicy, requireSigned } from "./policy-file.ts";
import { createSignaturePolicy } from "./signature-policy.ts";

const digest = digestOf("manifest");
const pair = generateKeyPair("");
const stranger = generateKeyPair("");
let root: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "tug-policy-"));
  writeFileSync(join(root, "key.pub"), pair.publicKey);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function policy(document: object): Policy {
  const path = join(root, "policy.json");
  writeFileSync(path, JSON.stringify(document));
  return readPolicy(path);
}

function signature(
  options: { reference?: string; of?: Digest; key?: string } = {},
): ImageSignature {
  const { reference = "localhost:5000/team/web", of = digest, key = pair.privateKey } = options;
  const payload = encodePayload({ reference, manifestDigest: of });
  return { payload, signature: signBytes(openPrivateKey(key, ""), payload) };
}

function use(change: Partial<ImageUse> = {}): ImageUse {
  const reference = parseReference("localhost:5000/team/web:1");
  return {
    action: "run",
    reference,
    names: ["localhost:5000/team/web:1", `localhost:5000/team/web@${digest}`],
    digests: [digest],
    imageId: digestOf("config"),
    isTagPublished: true,
    ...change,
  };
}

/** The refusal's sentence; "allowed" when there is none. */
async function verdict(
  given: Policy | undefined,
  asked: ImageUse,
  stores: { kept?: readonly ImageSignature[]; remote?: readonly ImageSignature[] } = {},
): Promise<string> {
  const checked = createSignaturePolicy({
    policy: () => given,
    signatures: {
      list: () => stores.kept ?? [],
      add: () => undefined,
      fetch: async () => await Promise.resolve(stores.remote ?? []),
      push: async () => await Promise.resolve(),
    },
  });
  try {
    await checked.check(asked);
    return "allowed";
  } catch (error) {
    return error instanceof Error ? error.message : "";
  }
}

const accept = [{ type: "insecureAcceptAnything" }];
const reject = [{ type: "reject" }];
const signed = (identity?: object): object[] => [
  {
    type: "sigstoreSigned",
    keyPath: join(root, "key.pub"),
    ...(identity === undefined ? {} : { signedIdentity: identity }),
  },
];

test("without a policy everything is allowed", async () => {
  expect(await verdict(undefined, use())).toBe("allowed");
});

describe("where an image comes from", () => {
  const only = (): Policy =>
    policy({ default: reject, transports: { docker: { "localhost:5000/team": accept } } });

  test("what the scope names is allowed, all else refused by its rule", async () => {
    expect(await verdict(only(), use())).toBe("allowed");
    const other = parseReference("localhost:5001/team/web:1");
    expect(await verdict(only(), use({ action: "pull", reference: other, names: [] }))).toBe(
      `image localhost:5001/team/web:1 may not be pulled: rule default[0] rejects it (policy ${join(root, "policy.json")})`,
    );
    const near = parseReference("localhost:5000/teams/web:1");
    expect(await verdict(only(), use({ action: "pull", reference: near, names: [] }))).toContain(
      "rule default[0]",
    );
  });

  test("a name that was given here does not make an image come from there", async () => {
    const local = use({ names: ["localhost:5000/team/web:1"] });
    expect(await verdict(only(), local)).toContain("rule default[0] rejects it");
    const elsewhere = use({ names: ["localhost:5000/team/web:1", `evil.example/x@${digest}`] });
    expect(await verdict(only(), elsewhere)).toContain("rule default[0] rejects it");
  });

  test("by its ID it is judged by where it was pulled from", async () => {
    const { reference: _, ...byId } = use();
    expect(await verdict(only(), byId)).toBe("allowed");
  });

  test("local images have a rule of their own", async () => {
    const given = policy({ default: reject, transports: { "docker-daemon": { "": accept } } });
    expect(await verdict(given, use({ names: ["web:1"] }))).toBe("allowed");
    expect(await verdict(given, use())).toContain("rejects it");
  });

  test("local images have rules by their IDs and names", async () => {
    const given = (scope: string): Policy =>
      policy({ default: reject, transports: { "docker-daemon": { [scope]: accept } } });
    const local = use({ names: ["docker.io/library/web:1"] });
    const scopes = ["docker.io/library/web:1", "docker.io/library", local.imageId];
    for (const scope of scopes) expect(await verdict(given(scope), local)).toBe("allowed");
    for (const scope of ["web:1", "docker.io/library/web:2", digest]) {
      expect(await verdict(given(scope), local)).toContain("rule default[0] rejects it");
    }
    const stopped = policy({
      default: accept,
      transports: { "docker-daemon": { [local.imageId]: reject } },
    });
    expect(await verdict(stopped, local)).toContain(`transports.docker-daemon["${local.imageId}"]`);
  });

  test("a reason is told once", async () => {
    const given = policy({ default: reject });
    const sentence = await verdict(given, use({ names: ["a:1", "b:1", "c:1"] }));
    expect(sentence.split("rejects it").length).toBe(2);
  });

  test("a tag that was given here is none of the registry's", async () => {
    const scope = "localhost:5000/team/web:1";
    const one = policy({ default: reject, transports: { docker: { [scope]: accept } } });
    expect(await verdict(one, use())).toBe("allowed");
    expect(await verdict(one, use({ isTagPublished: false }))).toContain("rule default[0] rejects");
    const exact = policy({ default: signed({ type: "matchExact" }) });
    const kept = [signature({ reference: scope })];
    expect(await verdict(exact, use(), { kept })).toBe("allowed");
    expect(await verdict(exact, use({ isTagPublished: false }), { kept })).toContain("for another");
  });

  test("a digest has a scope, and a tag beside it has none", async () => {
    const whole = `localhost:5000/team/web@${digest}`;
    const scopes = { [whole]: reject, "localhost:5000/team/web": accept };
    const given = policy({ default: accept, transports: { docker: scopes } });
    for (const action of ["pull", "run"] as const) {
      const byDigest = use({ action, reference: parseReference(whole) });
      expect(await verdict(given, byDigest)).toContain(`transports.docker["${whole}"][0] rejects`);
    }
    expect(await verdict(given, use())).toBe("allowed");
    const tagged = policy({
      default: reject,
      transports: { docker: { "localhost:5000/team/web:1": accept } },
    });
    const both = parseReference(`localhost:5000/team/web:1@${digest}`);
    expect(await verdict(tagged, use({ action: "pull", reference: both }))).toContain("rejects");
  });

  for (const [scope, isMet] of [
    ["localhost:5000/team/web:1", true],
    ["localhost:5000/team/web:2", false],
    ["localhost:5000/team/web", true],
    ["localhost:5000", true],
    ["", true],
    ["localhost", false],
  ] as const) {
    test(`scope ${JSON.stringify(scope)}`, async () => {
      const given = policy({ default: reject, transports: { docker: { [scope]: accept } } });
      expect((await verdict(given, use())) === "allowed").toBe(isMet);
    });
  }

  test("domains above the host are scopes", async () => {
    const given = policy({ default: reject, transports: { docker: { "*.example.com": accept } } });
    const asked = (name: string): ImageUse =>
      use({ action: "pull", reference: parseReference(name), names: [] });
    expect(await verdict(given, asked("a.b.example.com/x:1"))).toBe("allowed");
    expect(await verdict(given, asked("example.com/x:1"))).toContain("rejects");
  });
});

describe("signatures", () => {
  const given = (identity?: object): Policy => policy({ default: signed(identity) });

  test("one of the key for the name lets an image run", async () => {
    expect(await verdict(given(), use(), { kept: [signature()] })).toBe("allowed");
    expect(
      await verdict(requireSigned(join(root, "key.pub")), use(), { kept: [signature()] }),
    ).toBe("allowed");
  });

  for (const [name, kept, reason] of [
    ["none", [], "it has no signature"],
    [
      "one of another key",
      [signature({ key: stranger.privateKey })],
      "none of its signatures is of that key",
    ],
    ["one for another manifest", [signature({ of: digestOf("other") })], "none of its signatures"],
    [
      "one for another name",
      [signature({ reference: "localhost:5000/team/db" })],
      "signed for another",
    ],
  ] as const) {
    test(`${name} does not`, async () => {
      const sentence = await verdict(given(), use(), { kept });
      expect(sentence).toContain(reason);
      expect(sentence).toContain("rule default[0] wants it signed with");
    });
  }

  test("that cannot be fetched keep the image out, with what they were wanted for", async () => {
    const checked = createSignaturePolicy({
      policy: () => given(),
      signatures: {
        list: () => [],
        add: () => undefined,
        fetch: async () => {
          await Promise.resolve();
          throw new EngineError("unavailable", "no such host");
        },
        push: async () => await Promise.resolve(),
      },
    });
    await expect(checked.check(use({ action: "pull" }))).rejects.toMatchObject({
      kind: "unavailable",
      message:
        "fetch the signatures of localhost:5000/team/web:1, which the policy wants: no such host",
    });
  });

  test("a pull looks for signatures in the registry, a run only here", async () => {
    const remote = [signature()];
    expect(await verdict(given(), use({ action: "pull" }), { remote })).toBe("allowed");
    expect(await verdict(given(), use(), { remote })).toContain("it has no signature");
  });

  for (const [identity, reference, isMet] of [
    [{ type: "matchRepository" }, "localhost:5000/team/web:7", true],
    [{ type: "matchExact" }, "localhost:5000/team/web:1", true],
    [{ type: "matchExact" }, "localhost:5000/team/web", false],
    [{ type: "matchRepoDigestOrExact" }, "localhost:5000/team/web:2", false],
    [undefined, "localhost:5000/team/web", true],
    [undefined, "localhost:5000/team/web:1", true],
    [undefined, "localhost:5000/team/web:2", false],
    [undefined, "localhost:5000/team/db:1", false],
    [{ type: "exactRepository", dockerRepository: "ghcr.io/up/web" }, "ghcr.io/up/web", true],
    [{ type: "exactRepository", dockerRepository: "up/web" }, "index.docker.io/up/web", true],
    [{ type: "exactReference", dockerReference: "busybox:1" }, "docker.io/library/busybox:1", true],
    [{ type: "exactReference", dockerReference: "busybox:1" }, "busybox", false],
    [{ type: "exactReference", dockerReference: "ghcr.io/up/web:1" }, "ghcr.io/up/web:2", false],
    [
      { type: "remapIdentity", prefix: "localhost:5000", signedPrefix: "ghcr.io" },
      "ghcr.io/team/web",
      true,
    ],
    [
      { type: "remapIdentity", prefix: "localhost:5000", signedPrefix: "ghcr.io" },
      "ghcr.io/team/web:2",
      false,
    ],
    [
      { type: "remapIdentity", prefix: "localhost:5001", signedPrefix: "ghcr.io" },
      "ghcr.io/team/web",
      false,
    ],
  ] as const) {
    test(`${JSON.stringify(identity)} and ${reference}`, async () => {
      const kept = [signature({ reference })];
      expect((await verdict(given(identity), use(), { kept })) === "allowed").toBe(isMet);
    });
  }

  test("of an image asked for by digest the repository is to be the signed one", async () => {
    const byDigest = use({ reference: parseReference(`localhost:5000/team/web@${digest}`) });
    const kept = [signature({ reference: "localhost:5000/team/web:2" })];
    expect(await verdict(given(), byDigest, { kept })).toBe("allowed");
    expect(await verdict(given({ type: "matchExact" }), byDigest, { kept })).toContain("another");
  });

  test("all requirements of a scope are to be met", async () => {
    const both = policy({ default: [...signed(), ...reject] });
    expect(await verdict(both, use(), { kept: [signature()] })).toContain(
      "rule default[1] rejects it",
    );
  });
});

/** A policy that wants a signature for a name. */
function withIdentity(signedIdentity: object): object {
  const keyData = Buffer.from(pair.publicKey).toString("base64");
  return { default: [{ type: "sigstoreSigned", keyData, signedIdentity }] };
}

describe("a policy file that is not understood is refused, with its place", () => {
  for (const [name, document, place] of [
    ["no default", {}, "default: a policy must have it"],
    ["an empty list", { default: [] }, "default: a list of requirements is wanted"],
    [
      "another type",
      { default: [{ type: "signedBy" }] },
      'default[0]: type "signedBy" is not one of',
    ],
    [
      "an unknown key",
      { default: [{ type: "reject", when: 1 }] },
      'default[0]: "when" is not known',
    ],
    ["an unknown member", { default: reject, transport: {} }, '"transport" is not known'],
    ["no key", { default: [{ type: "sigstoreSigned" }] }, "default[0]: exactly one of keyPath"],
    [
      "a key that is missing",
      { default: [{ type: "sigstoreSigned", keyPath: "/nope" }] },
      "key /nope: read /nope: no such file",
    ],
    ["an identity that is unknown", withIdentity({ type: "any" }), "default[0].signedIdentity"],
    [
      "an identity whose name is none",
      withIdentity({ type: "exactReference", dockerReference: "ghcr.io/up/web" }),
      "dockerReference is not a name with a tag or a digest",
    ],
    [
      "an identity whose repository has a tag",
      withIdentity({ type: "exactRepository", dockerRepository: "ghcr.io/up/web:1" }),
      "dockerRepository is not a name without tag and digest",
    ],
    [
      "a scope that is no list",
      { default: reject, transports: { docker: { x: {} } } },
      'transports.docker["x"]',
    ],
  ] as const) {
    test(name, () => expect(() => policy(document)).toThrow(place));
  }

  test("a member that is there twice", () => {
    const path = join(root, "twice.json");
    writeFileSync(path, '{"default":[{"type":"reject"}],"default":[{"type":"reject"}]}');
    expect(() => readPolicy(path)).toThrow(`read ${path}: the policy: "default" is there twice`);
  });
});
