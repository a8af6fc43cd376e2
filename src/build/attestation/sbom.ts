/**
 * What packages an image holds, as an SPDX document: read from the lists that Debian's and Alpine's
 * package managers keep in it. Files that no package owns are not looked into.
 *
 * @see spdx.github.io/spdx-spec/v2.3
 */
import { formatTime } from "../../lib/time.ts";

/** The predicate's type. */
export const sbomType = "https://spdx.dev/Document";
const spdxVersion = "SPDX-2.3";

/** Where package managers keep their lists, below the root of an image. */
export const packageLists: readonly string[] = [
  "var/lib/dpkg/status",
  "lib/apk/db/installed",
  "usr/lib/apk/db/installed",
];
/** A list is read to this size. */
export const packageListMaxBytes: number = 64 * 1024 * 1024;
/** Packages that are told. */
const packagesMax = 100_000;

/** One package. */
export interface ImagePackage {
  readonly kind: "deb" | "apk";
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  readonly license?: string;
}

/** Reads a list; what is not understood of it is left out. */
export function parsePackageList(path: string, text: string): readonly ImagePackage[] {
  const isDpkg = path.endsWith("dpkg/status");
  const found: ImagePackage[] = [];
  for (const paragraph of text.split(/\n\n+/)) {
    const one = isDpkg ? debPackage(paragraph) : apkPackage(paragraph);
    if (one !== undefined) found.push(one);
    if (found.length >= packagesMax) break;
  }
  return found;
}

function debPackage(paragraph: string): ImagePackage | undefined {
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}: *(.+)$`, "m").exec(paragraph)?.[1]?.trim();
  const [name, version] = [field("Package"), field("Version")];
  if (name === undefined || version === undefined) return undefined;
  if (!(field("Status") ?? "").endsWith(" installed")) return undefined;
  return { kind: "deb", name, version, architecture: field("Architecture") ?? "" };
}

function apkPackage(paragraph: string): ImagePackage | undefined {
  const field = (letter: string): string | undefined =>
    new RegExp(`^${letter}:(.+)$`, "m").exec(paragraph)?.[1]?.trim();
  const [name, version] = [field("P"), field("V")];
  if (name === undefined || version === undefined) return undefined;
  const license = field("L");
  return {
    kind: "apk",
    name,
    version,
    architecture: field("A") ?? "",
    ...(license === undefined ? {} : { license }),
  };
}

/** Makes the document. The same packages give the same one. */
export function makeSbom(options: {
  readonly name: string;
  /** Tells this document from every other: the digest of the image. */
  readonly uniqueName: string;
  readonly createdNs: bigint;
  readonly packages: readonly ImagePackage[];
}): object {
  const { packages } = options;
  const root = "SPDXRef-DocumentRoot-Image";
  return {
    spdxVersion,
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: options.name,
    documentNamespace: `https://tug.invalid/spdx/${encodeURIComponent(options.uniqueName)}`,
    creationInfo: { created: secondsOnly(options.createdNs), creators: ["Tool: tug"] },
    packages: [
      {
        name: options.name,
        SPDXID: root,
        downloadLocation: "NOASSERTION",
        filesAnalyzed: false,
        primaryPackagePurpose: "CONTAINER",
      },
      ...packages.map((each, index) => ({
        name: each.name,
        SPDXID: `SPDXRef-Package-${index}`,
        versionInfo: each.version,
        downloadLocation: "NOASSERTION",
        filesAnalyzed: false,
        licenseDeclared: each.license ?? "NOASSERTION",
        externalRefs: [
          {
            referenceCategory: "PACKAGE-MANAGER",
            referenceType: "purl",
            referenceLocator: packageUrl(each),
          },
        ],
      })),
    ],
    relationships: [
      {
        spdxElementId: "SPDXRef-DOCUMENT",
        relationshipType: "DESCRIBES",
        relatedSpdxElement: root,
      },
      ...packages.map((_, index) => ({
        spdxElementId: root,
        relationshipType: "CONTAINS",
        relatedSpdxElement: `SPDXRef-Package-${index}`,
      })),
    ],
  };
}

function packageUrl({ kind, name, version, architecture }: ImagePackage): string {
  const vendor = kind === "deb" ? "debian" : "alpine";
  const parts = [vendor, name].map(encodeURIComponent).join("/");
  const arch = architecture === "" ? "" : `?arch=${encodeURIComponent(architecture)}`;
  return `pkg:${kind}/${parts}@${encodeURIComponent(version)}${arch}`;
}

/** SPDX takes no fractions of seconds. */
function secondsOnly(timeNs: bigint): string {
  return formatTime(timeNs).replace(/\.\d+Z$/, "Z");
}
