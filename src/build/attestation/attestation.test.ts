import { expect, test } from "bun:test";
import { digestOf } from "../../oci/digest.ts";
import { parseReference } from "../../oci/reference.ts";
import { makeAttestationManifest } from "./attestation-manifest.ts";
import { type BuildFacts, encodeProvenance, imageUri } from "./provenance.ts";
import { makeSbom, parsePackageList } from "./sbom.ts";

const platform = { os: "linux", architecture: "amd64" };
const image = digestOf("image");
const facts: BuildFacts = {
  mode: "min",
  invocationId: "abc",
  startedNs: 1_700_000_000_000_000_000n,
  finishedNs: 1_700_000_001_500_000_000n,
  platform,
  dockerfileName: "Dockerfile",
  dockerfile: Buffer.from("FROM busybox\n"),
  args: new Map([["TOKEN", "of an argument"]]),
  labels: new Map(),
  materials: [{ uri: imageUri(parseReference("busybox:1"), platform), digest: image }],
  steps: [{ name: "[1/1] FROM busybox", description: "FROM busybox", inputs: [] }],
  isReproducible: false,
};
const subject = { names: [parseReference("localhost:5000/app:1")], digest: image, platform };

test("provenance says of what and when; arguments and the Dockerfile only when all is wanted", () => {
  const small = JSON.parse(Buffer.from(encodeProvenance(subject, facts)).toString()) as object;
  expect(small).toMatchObject({
    _type: "https://in-toto.io/Statement/v0.1",
    predicateType: "https://slsa.dev/provenance/v0.2",
    subject: [
      {
        name: "pkg:docker/localhost:5000/app@1?platform=linux%2Famd64",
        digest: { sha256: image.slice(7) },
      },
    ],
    predicate: {
      buildType: "https://mobyproject.org/buildkit@v1",
      materials: [{ uri: "pkg:docker/busybox@1?platform=linux%2Famd64" }],
      metadata: { buildInvocationID: "abc", completeness: { parameters: false } },
    },
  });
  expect(JSON.stringify(small)).not.toContain("of an argument");
  const whole = Buffer.from(encodeProvenance(subject, { ...facts, mode: "max" })).toString();
  expect(whole).toContain("of an argument");
  expect(whole).toContain(Buffer.from("FROM busybox\n").toString("base64"));
  expect(encodeProvenance(subject, facts)).toEqual(encodeProvenance(subject, facts));
});

test("packages are read of Debian's and Alpine's lists, those that are installed", () => {
  const dpkg = [
    "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-1",
    "Package: gone\nStatus: deinstall ok config-files\nVersion: 1",
    "noise",
  ].join("\n\n");
  expect(parsePackageList("var/lib/dpkg/status", dpkg)).toEqual([
    { kind: "deb", name: "bash", version: "5.2-1", architecture: "amd64" },
  ]);
  const apk = "C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\n\nP:noversion\n";
  expect(parsePackageList("lib/apk/db/installed", apk)).toEqual([
    { kind: "apk", name: "musl", version: "1.2.5-r0", architecture: "x86_64", license: "MIT" },
  ]);
  expect(parsePackageList("lib/apk/db/installed", "\0".repeat(1000))).toEqual([]);
});

test("an SPDX document names every package once, below the image", () => {
  const packages = parsePackageList(
    "var/lib/dpkg/status",
    "Package: libstdc++6\nStatus: install ok installed\nVersion: 12.2~rc+1\nArchitecture: amd64",
  );
  const document = makeSbom({ name: "app", uniqueName: image, createdNs: 0n, packages });
  expect(document).toMatchObject({
    spdxVersion: "SPDX-2.3",
    creationInfo: { created: "1970-01-01T00:00:00Z" },
    packages: [
      { name: "app" },
      {
        name: "libstdc++6",
        versionInfo: "12.2~rc+1",
        externalRefs: [
          { referenceLocator: "pkg:deb/debian/libstdc%2B%2B6@12.2~rc%2B1?arch=amd64" },
        ],
      },
    ],
  });
});

test("a manifest of statements names the image that they are about", () => {
  const { descriptor, blobs } = makeAttestationManifest(image, [
    { predicateType: "t", statement: Buffer.from("{}") },
  ]);
  expect(descriptor).toMatchObject({
    platform: { os: "unknown", architecture: "unknown" },
    annotations: {
      "vnd.docker.reference.type": "attestation-manifest",
      "vnd.docker.reference.digest": image,
    },
  });
  expect(blobs).toHaveLength(3);
  for (const blob of blobs) expect(digestOf(blob.bytes)).toBe(blob.descriptor.digest);
  expect(blobs[0]?.descriptor.annotations).toEqual({ "in-toto.io/predicate-type": "t" });
});
