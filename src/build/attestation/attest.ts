/** Makes the attestations of an image that a build asks for. */
import { digestOf, type Digest, digestHex } from "../../oci/digest.ts";
import {
  findReference,
  familiarString,
  type Reference,
  withDefaultTag,
} from "../../oci/reference.ts";
import { redactText } from "../../lib/redact.ts";
import { nowNs, secondNs } from "../../lib/time.ts";
import type { ExportOptions, PlatformResult } from "../export/result.ts";
import { chainIdOf, type Step } from "../step.ts";
import {
  type Attestation,
  type AttestationBlob,
  makeAttestationManifest,
} from "./attestation-manifest.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { BuildProvenance } from "../build-service.ts";
import {
  encodePredicate,
  encodeProvenance,
  encodeStatement,
  imageUri,
  type Material,
  provenanceType,
  type ProvenanceStep,
  type Subject,
} from "./provenance.ts";
import {
  type ImagePackage,
  makeSbom,
  packageListMaxBytes,
  packageLists,
  parsePackageList,
  sbomType,
} from "./sbom.ts";

/** Attestations of one image, as an index names them. */
export interface ImageAttestations {
  readonly descriptor: Descriptor;
  readonly blobs: readonly AttestationBlob[];
}

/** Whether a build asks for any. */
export function isAttested({ request }: Pick<ExportOptions, "request">): boolean {
  return request.attestations.sbom || request.attestations.provenance !== undefined;
}

/** Makes the manifest of all that is attested of an image. */
export async function attestImage(
  how: ExportOptions,
  image: {
    readonly result: PlatformResult;
    readonly manifest: Digest;
    readonly names: readonly Reference[];
  },
): Promise<ImageAttestations> {
  const { result, manifest, names } = image;
  const subject = { names, digest: manifest, platform: result.graph.platform };
  return makeAttestationManifest(manifest, await attestResult(how, result, subject));
}

/** The statements themselves, of a result that may be no image. */
export async function attestResult(
  how: ExportOptions,
  result: PlatformResult,
  subject: Subject,
): Promise<readonly Attestation[]> {
  const { sbom, provenance: mode } = how.request.attestations;
  const made: Attestation[] = [];
  if (sbom) {
    const packages = await readPackages(how, result);
    const name = subject.names[0];
    const document = makeSbom({
      name: name === undefined ? "image" : familiarString(name),
      uniqueName: subject.digest,
      createdNs: timeOf(how, nowNs()),
      packages,
    });
    const statement = encodeStatement(subject, { predicateType: sbomType, predicate: document });
    made.push({ predicateType: sbomType, statement });
  }
  if (mode !== undefined) {
    const statement = encodeProvenance(subject, factsOf(how, { result, subject, mode }));
    made.push({ predicateType: provenanceType, statement });
  }
  return made;
}

/** The provenance of a result for the record of its build, which has one whoever asked for it. */
export function describeProvenance(
  how: ExportOptions,
  about: { readonly result: PlatformResult; readonly digest: Digest },
): BuildProvenance {
  const { result, digest } = about;
  const mode = how.request.attestations.provenance ?? "min";
  const facts = factsOf(how, { result, subject: { digest }, mode });
  return {
    platform: result.graph.platform,
    predicateType: provenanceType,
    predicate: encodePredicate(facts),
  };
}

function factsOf(
  how: ExportOptions,
  about: {
    readonly result: PlatformResult;
    readonly subject: Pick<Subject, "digest">;
    readonly mode: "min" | "max";
  },
): Parameters<typeof encodeProvenance>[1] {
  const { request, facts } = how;
  const { graph } = about.result;
  const { main } = request;
  const hasEpoch = request.sourceDateEpoch !== undefined;
  return {
    mode: about.mode,
    // The same build has the same provenance where times are given.
    invocationId: hasEpoch ? digestHex(digestOf(about.subject.digest)).slice(0, 24) : request.id,
    startedNs: timeOf(how, facts.startedNs),
    finishedNs: timeOf(how, nowNs()),
    platform: graph.platform,
    ...(main.kind === "git" || main.kind === "http" ? { sourceUri: redactText(main.url) } : {}),
    dockerfileName: request.dockerfileName ?? "Dockerfile",
    dockerfile: facts.dockerfile,
    ...(request.target === undefined ? {} : { target: request.target }),
    args: request.args,
    labels: request.labels,
    materials: [...imageMaterials(graph.steps), ...facts.materials],
    steps: stepsOf(graph.steps),
    builderId: request.attestations.builderId ?? "",
    isReproducible: request.attestations.isReproducible === true,
  };
}

/** Base images, each once. */
function imageMaterials(steps: readonly Step[]): readonly Material[] {
  const found = new Map<string, Material>();
  for (const { action, platform } of steps) {
    if (action.kind !== "image") continue;
    const name = findReference(action.reference);
    const digest = action.image.manifestDigest;
    const uri = imageUri(
      withDefaultTag(name ?? { domain: "docker.io", path: "unnamed" }),
      platform,
    );
    found.set(uri, { uri, digest });
  }
  return [...found.values()];
}

function stepsOf(steps: readonly Step[]): readonly ProvenanceStep[] {
  const numbers = new Map(steps.map(({ digest }, number) => [digest, number]));
  return steps.map(({ name, description, below, reads }) => ({
    name: redactText(name),
    description: redactText(description),
    inputs: [...(below === undefined ? [] : [below]), ...reads].flatMap(
      ({ digest }) => numbers.get(digest) ?? [],
    ),
  }));
}

async function readPackages(
  { options, signal }: ExportOptions,
  { result }: PlatformResult,
): Promise<readonly ImagePackage[]> {
  const chainId = chainIdOf(result);
  if (chainId === undefined) return [];
  const tree = { kind: "snapshot", mount: options.snapshots.mounts(chainId) } as const;
  const found: ImagePackage[] = [];
  for (const path of packageLists) {
    const bytes = await options.copier.readFile(tree, {
      path,
      sizeMaxBytes: packageListMaxBytes,
      signal,
    });
    if (bytes !== undefined) found.push(...parsePackageList(path, new TextDecoder().decode(bytes)));
  }
  // A list may be there under two names of one folder.
  const names = new Set<string>();
  return found.filter(({ kind, name, version, architecture }) => {
    const key = [kind, name, version, architecture].join(" ");
    return !names.has(key) && names.add(key);
  });
}

/** A moment of the build; no later than its epoch, so that the same build tells the same. */
function timeOf({ request }: ExportOptions, time: bigint): bigint {
  const { sourceDateEpoch: epochS } = request;
  return epochS === undefined ? time : BigInt(epochS) * secondNs;
}
