/** Decides by a policy file and signatures which images may come in and run. */
import { EngineError, isKind } from "../../lib/errors.ts";
import { verifyBytes } from "../../lib/signing-key.ts";
import type { Digest } from "../../oci/digest.ts";
import {
  findReference,
  parseReference,
  type Reference,
  referenceName,
} from "../../oci/reference.ts";
import { decodePayload, type ImageSignature } from "../../oci/simple-signing.ts";
import type { ImagePolicy, ImageUse } from "../image-policy.ts";
import {
  isIdentityMet,
  localRuleFor,
  type Policy,
  type Requirement,
  type Rule,
  ruleFor,
} from "./policy-file.ts";
import type { SignatureStore } from "./signatures.ts";

/** What a policy is made with. */
export interface SignaturePolicyOptions {
  /** As it is now: a reload replaces it. Undefined: everything is allowed. */
  readonly policy: () => Policy | undefined;
  readonly signatures: SignatureStore;
}

/**
 * Makes the policy.
 *
 * An image is judged by the repository it came from: what a pull or a push has told of it, never a
 * name that somebody gave it here. One that never was in a registry is judged as a local one.
 */
export function createSignaturePolicy({ policy, signatures }: SignaturePolicyOptions): ImagePolicy {
  return {
    async check(use) {
      const current = policy();
      if (current === undefined) return;
      const refusals: string[] = [];
      for (const { rule, image } of judgesOf(current, use)) {
        const refusal = await refusalOf(rule, { use, image, signatures });
        if (refusal === undefined) return;
        refusals.push(refusal);
      }
      throw new EngineError(
        "permission-denied",
        `image ${nameOf(use)} may not ${usedHow[use.action]}: ${[...new Set(refusals)].join("; ")} (policy ${current.path})`,
      );
    },
  };
}

const usedHow = { pull: "be pulled", run: "run", build: "be built on" } as const;

/** One way to judge an image: by a rule, under a name. */
interface Judge {
  readonly rule: Rule;
  readonly image: Reference | undefined;
}

/** The rules of which one must let the image pass. */
function judgesOf(policy: Policy, use: ImageUse): readonly Judge[] {
  const { reference } = use;
  if (use.action === "pull" && reference !== undefined) {
    return [{ rule: ruleFor(policy, reference), image: reference }];
  }
  const names = use.names.map(findReference).filter((name) => name !== undefined);
  const origins = names.filter((name) => name.digest !== undefined);
  const asked = origins.filter(
    (name) => reference !== undefined && referenceName(name) === referenceName(reference),
  );
  if (asked.length > 0 && reference !== undefined) {
    // A tag that was given here says nothing of what the registry calls so.
    const isToldByRegistry = use.isTagPublished === true || reference.digest !== undefined;
    return judgesBy(policy, isToldByRegistry ? [reference] : asked);
  }
  if (origins.length > 0) return judgesBy(policy, origins);
  return (names.length === 0 ? [undefined] : names).map((name) => ({
    rule: localRuleFor(policy, { id: use.imageId, name }),
    image: name,
  }));
}

function judgesBy(policy: Policy, images: readonly Reference[]): readonly Judge[] {
  return images.map((image) => ({ rule: ruleFor(policy, image), image }));
}

interface Trial {
  readonly use: ImageUse;
  readonly image: Reference | undefined;
  readonly signatures: SignatureStore;
}

/** Why a rule does not let an image pass; undefined when it does. */
async function refusalOf(rule: Rule, trial: Trial): Promise<string | undefined> {
  for (const [index, requirement] of rule.requirements.entries()) {
    const reason = await reasonOf(requirement, trial);
    if (reason !== undefined) return `rule ${rule.place}[${index}] ${reason}`;
  }
  return undefined;
}

async function reasonOf(requirement: Requirement, trial: Trial): Promise<string | undefined> {
  switch (requirement.kind) {
    case "accept":
      return undefined;
    case "reject":
      return "rejects it";
    case "signed":
      return await signedReason(requirement, trial);
  }
}

type SignedRequirement = Extract<Requirement, { kind: "signed" }>;

async function signedReason(
  requirement: SignedRequirement,
  { use, image, signatures }: Trial,
): Promise<string | undefined> {
  const keys = requirement.keys.map(({ path }) => path).join(" or ");
  let best = `wants it signed with ${keys}, and it has no signature`;
  for (const digest of use.digests) {
    const known = signatures.list(digest);
    const verdict = judge(requirement, { known, digest, image });
    if (verdict === "met") return undefined;
    const fetched =
      use.action === "pull" && image !== undefined
        ? await fetchSignatures(signatures, { use, image, digest })
        : [];
    const second = judge(requirement, { known: fetched, digest, image });
    if (second === "met") return undefined;
    if (verdict === "identity" || second === "identity") {
      best = `wants it signed with ${keys} for this name, and it is signed for another`;
    } else if (known.length + fetched.length > 0) {
      best = `wants it signed with ${keys}, and none of its signatures is of that key`;
    }
  }
  return best;
}

/** Those that the registry has. @throws as `SignatureStore.fetch`, saying what they were wanted for */
async function fetchSignatures(
  signatures: SignatureStore,
  wanted: { readonly use: ImageUse; readonly image: Reference; readonly digest: Digest },
): Promise<readonly ImageSignature[]> {
  const { use, image, digest } = wanted;
  const { credentials, signal } = use;
  try {
    return await signatures.fetch(image, {
      digest,
      ...(credentials === undefined ? {} : { credentials }),
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    if (signal?.aborted === true || !(error instanceof EngineError)) throw error;
    throw new EngineError(
      error.kind,
      `fetch the signatures of ${nameOf(use)}, which the policy wants: ${error.message}`,
      { cause: error },
    );
  }
}

/** Whether one of the signatures does, or how near the best one comes. */
function judge(
  { keys, identity }: SignedRequirement,
  options: {
    readonly known: readonly ImageSignature[];
    readonly digest: string;
    readonly image: Reference | undefined;
  },
): "met" | "identity" | "none" {
  const { known, digest, image } = options;
  let isNear = false;
  for (const { payload, signature } of known) {
    if (!keys.some(({ key }) => verifyBytes(key, { bytes: payload, signature }))) continue;
    const signed = signedImage(payload);
    if (signed === undefined || signed.manifestDigest !== digest) continue;
    // An image without a name cannot be taken for one of another name.
    if (image === undefined || isIdentityMet(identity, { signed: signed.reference, image })) {
      return "met";
    }
    isNear = true;
  }
  return isNear ? "identity" : "none";
}

/** What a document with a good signature says; undefined when it names no image. */
function signedImage(
  payload: Uint8Array,
): { readonly reference: Reference; readonly manifestDigest: string } | undefined {
  try {
    const { reference, manifestDigest } = decodePayload(payload);
    return { reference: parseReference(reference), manifestDigest };
  } catch (error) {
    if (isKind(error, "invalid-argument")) return undefined;
    throw error;
  }
}

function nameOf(use: ImageUse): string {
  if (use.reference === undefined) return use.imageId;
  const { tag, digest } = use.reference;
  return `${referenceName(use.reference)}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}
