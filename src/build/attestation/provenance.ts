/**
 * Provenance: how an image was built and of what, as an in-toto statement.
 *
 * `min` says from what and when; `max` says also with which arguments, by which steps, and holds the
 * Dockerfile. Secrets are named and never told.
 *
 * @see slsa.dev/provenance/v0.2; BuildKit, docs/attestations/slsa-provenance.md
 */
import { formatTime } from "../../lib/time.ts";
import type { Digest } from "../../oci/digest.ts";
import { formatPlatform, type Platform } from "../../oci/platform.ts";
import { familiarName, type Reference } from "../../oci/reference.ts";

/** The predicate's type. */
export const provenanceType = "https://slsa.dev/provenance/v0.2";
const buildType = "https://mobyproject.org/buildkit@v1";
const metadataKey = `${buildType}#metadata`;
/** An in-toto statement. */
const statementType = "https://in-toto.io/Statement/v0.1";

/** Something that an image was made of. */
export interface Material {
  /** `pkg:docker/busybox@latest?platform=linux%2Famd64`, a URL, a repository. */
  readonly uri: string;
  /** `sha256:…`; of a repository the commit, `sha1:…`. */
  readonly digest?: string;
}

/** One step, as `max` tells it. */
export interface ProvenanceStep {
  readonly name: string;
  readonly description: string;
  /** Numbers of the steps that it stands on. */
  readonly inputs: readonly number[];
}

/** What is known of a build. */
export interface BuildFacts {
  readonly mode: "min" | "max";
  readonly invocationId: string;
  readonly startedNs: bigint;
  readonly finishedNs: bigint;
  readonly platform: Platform;
  /** Where the Dockerfile came from, unless the client's own folder. */
  readonly sourceUri?: string;
  readonly dockerfileName: string;
  readonly dockerfile: Uint8Array;
  readonly target?: string;
  readonly args: ReadonlyMap<string, string>;
  readonly labels: ReadonlyMap<string, string>;
  readonly materials: readonly Material[];
  readonly steps: readonly ProvenanceStep[];
  readonly builderId?: string;
  readonly isReproducible: boolean;
}

/** What a statement is about. */
export interface Subject {
  readonly names: readonly Reference[];
  readonly digest: Digest;
  readonly platform: Platform;
}

/** Makes the statement. The same facts give the same bytes. */
export function encodeProvenance(subject: Subject, facts: BuildFacts): Uint8Array {
  return encodeStatement(subject, { predicateType: provenanceType, predicate: predicateOf(facts) });
}

/** Makes the predicate alone: what the record of a build has. */
export function encodePredicate(facts: BuildFacts): Uint8Array {
  return Buffer.from(JSON.stringify(predicateOf(facts), undefined, 2));
}

/** Wraps a predicate in a statement about an image. */
export function encodeStatement(
  subject: Subject,
  statement: { readonly predicateType: string; readonly predicate: unknown },
): Uint8Array {
  const digest = digestSet(subject.digest);
  const names = subject.names.map((name) => imageUri(name, subject.platform));
  const document = {
    _type: statementType,
    predicateType: statement.predicateType,
    subject: (names.length === 0 ? ["_"] : names).map((name) => ({ name, digest })),
    predicate: statement.predicate,
  };
  return Buffer.from(JSON.stringify(document, undefined, 2));
}

/** An image as a package URL. @see package-url/purl-spec, type docker */
export function imageUri(name: Reference, platform: Platform): string {
  const version = name.tag ?? name.digest;
  const platformText = encodeURIComponent(formatPlatform(platform));
  const familiar = familiarName(name);
  return `pkg:docker/${familiar}${version === undefined ? "" : `@${version}`}?platform=${platformText}`;
}

function predicateOf(facts: BuildFacts): object {
  const { mode, invocationId, materials, sourceUri, dockerfileName } = facts;
  const isWhole = mode === "max";
  return {
    builder: { id: facts.builderId ?? "" },
    buildType,
    materials: materials.map(({ uri, digest }) => ({
      uri,
      ...(digest === undefined ? {} : { digest: digestSet(digest) }),
    })),
    invocation: {
      configSource: {
        ...(sourceUri === undefined ? {} : { uri: sourceUri }),
        entryPoint: dockerfileName,
      },
      parameters: {
        frontend: "dockerfile.v0",
        ...(isWhole ? { args: argumentsOf(facts) } : {}),
        ...(sourceUri === undefined
          ? { locals: [{ name: "context" }, { name: "dockerfile" }] }
          : {}),
      },
      environment: { platform: formatPlatform(facts.platform) },
    },
    ...(isWhole ? { buildConfig: { llbDefinition: stepsOf(facts) } } : {}),
    metadata: {
      buildInvocationID: invocationId,
      buildStartedOn: formatTime(facts.startedNs),
      buildFinishedOn: formatTime(facts.finishedNs),
      completeness: { parameters: isWhole, environment: true, materials: sourceUri !== undefined },
      reproducible: facts.isReproducible,
      [metadataKey]: isWhole ? { source: sourceOf(facts) } : {},
    },
  };
}

function digestSet(digest: string): Readonly<Record<string, string>> {
  const colon = digest.indexOf(":");
  return { [digest.slice(0, colon)]: digest.slice(colon + 1) };
}

function argumentsOf({ target, args, labels }: BuildFacts): Readonly<Record<string, string>> {
  return Object.fromEntries([
    ...(target === undefined ? [] : [["target", target] as const]),
    ...[...args].map(([name, value]) => [`build-arg:${name}`, value] as const),
    ...[...labels].map(([name, value]) => [`label:${name}`, value] as const),
  ]);
}

function stepsOf({ steps }: BuildFacts): readonly object[] {
  return steps.map(({ name, description, inputs }, index) => ({
    id: `step${index}`,
    op: { name, description },
    ...(inputs.length === 0 ? {} : { inputs: inputs.map((input) => `step${input}:0`) }),
  }));
}

function sourceOf({ dockerfileName, dockerfile }: BuildFacts): object {
  return {
    infos: [
      {
        filename: dockerfileName,
        language: "Dockerfile",
        data: Buffer.from(dockerfile).toString("base64"),
      },
    ],
  };
}
