import { EngineError } from "../lib/errors.ts";

/**
 * What a program runs on, normalised as containerd does: "arm64" without variant, "arm" with one.
 *
 * @see OCI image-spec v1.1, image-index.md, "platform"
 */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly "os.version"?: string;
  readonly "os.features"?: readonly string[];
}

const component = /^[A-Za-z0-9_.-]+$/;
const knownSystems: ReadonlySet<string> = new Set([
  ..."aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd".split(
    " ",
  ),
  ..."plan9 solaris windows zos".split(" "),
]);
const knownArchitectures: ReadonlySet<string> = new Set([
  ..."386 amd64 amd64p32 arm armbe arm64 arm64be ppc64 ppc64le loong64 mips mipsle mips64".split(
    " ",
  ),
  ..."mips64le mips64p32 mips64p32le ppc riscv riscv64 s390 s390x sparc sparc64 wasm".split(" "),
]);

/** Names that node gives to architectures, where Go's differ. */
const hostArchitectures: Readonly<Record<string, string>> = {
  x64: "amd64",
  ia32: "386",
  mipsel: "mipsle",
  ppc64: "ppc64le",
};

/**
 * Reads "os", "architecture", "os/architecture" or "os/architecture/variant"; what is left out is
 * the host's.
 *
 * @throws invalid-argument with containerd's sentence
 */
export function parsePlatform(text: string, host: Platform = hostPlatform()): Platform {
  const parts = text.split("/");
  if (parts.length > 3) {
    throw refused(`${JSON.stringify(text)}: cannot parse platform specifier: invalid argument`);
  }
  for (const part of parts) {
    if (component.test(part)) continue;
    throw refused(
      `${JSON.stringify(part)} is an invalid component of ${JSON.stringify(text)}: platform ` +
        `specifier component must match ${JSON.stringify(component.source)}: invalid argument`,
    );
  }
  const [first = "", second, third] = parts;
  if (second !== undefined) {
    return normalizePlatform({
      os: first,
      architecture: second,
      ...(third === undefined ? {} : { variant: third }),
    });
  }
  const os = normalizeSystem(first);
  if (knownSystems.has(os)) return { ...host, os };
  const bare = normalizePlatform({ os: host.os, architecture: first });
  if (knownArchitectures.has(bare.architecture)) return bare;
  throw refused(
    `${JSON.stringify(text)}: unknown operating system or architecture: invalid argument`,
  );
}

/** Maps other names of systems, architectures and variants to the published ones. */
export function normalizePlatform(platform: Platform): Platform {
  const { variant: _variant, ...rest } = platform;
  const { architecture, variant } = normalizeArchitecture(
    platform.architecture.toLowerCase(),
    (platform.variant ?? "").toLowerCase(),
  );
  const os = normalizeSystem(platform.os);
  return { ...rest, os, architecture, ...(variant === "" ? {} : { variant }) };
}

/** The platform this program runs on; "linux" whatever the host, since containers are. */
export function hostPlatform(architecture: string = process.arch): Platform {
  const known = Object.hasOwn(hostArchitectures, architecture)
    ? hostArchitectures[architecture]
    : undefined;
  return normalizePlatform({ os: "linux", architecture: known ?? architecture });
}

/** Renders as "os/architecture[/variant]". */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform;
  const parts = [os === "" ? "unknown" : os, architecture, variant ?? ""];
  return parts.filter((part) => part !== "").join("/");
}

/** Tells whether something made for `offered` is exactly what `wanted` names. */
export function matchPlatform(wanted: Platform, offered: Platform): boolean {
  const [a, b] = [normalizePlatform(wanted), normalizePlatform(offered)];
  return (
    a.os === b.os &&
    a.architecture === b.architecture &&
    (a.variant ?? "") === (b.variant ?? "") &&
    (a["os.version"] === undefined || a["os.version"] === b["os.version"])
  );
}

/**
 * Picks what runs best on `wanted`: the exact one, else the nearest older variant, else 386 on
 * amd64.
 *
 * @returns the index in `offered`; undefined when none runs. Of equals the first wins
 */
export function choosePlatform(
  wanted: Platform,
  offered: readonly (Platform | undefined)[],
): number | undefined {
  for (const candidate of runnable(normalizePlatform(wanted))) {
    const index = offered.findIndex((one) => one !== undefined && matchPlatform(candidate, one));
    if (index >= 0) return index;
  }
  return undefined;
}

/** All that runs on a platform, best first. */
function runnable(platform: Platform): Platform[] {
  const { variant, ...bare } = platform;
  const variants = (names: readonly string[]): Platform[] =>
    names.map((name) => normalizePlatform({ ...bare, variant: name }));
  const level = Number(/^v(\d)/.exec(variant ?? "")?.[1] ?? "0");
  switch (platform.architecture) {
    case "amd64": {
      const levels = Array.from({ length: Math.max(level, 1) }, (_, index) => `v${index + 1}`);
      return [...variants(levels.reverse()), { ...bare, architecture: "386" }];
    }
    case "arm":
      return variants(["v8", "v7", "v6", "v5"].filter((name) => Number(name[1]) <= level));
    case "arm64": {
      const arm = ["v8", "v7", "v6", "v5"].map((name) => ({
        ...bare,
        architecture: "arm",
        variant: name,
      }));
      return [platform, ...(level === 0 ? [] : [bare]), ...arm];
    }
    default:
      return [platform];
  }
}

function normalizeSystem(os: string): string {
  const name = os.toLowerCase();
  return name === "macos" ? "darwin" : name;
}

function normalizeArchitecture(
  architecture: string,
  variant: string,
): { architecture: string; variant: string } {
  switch (architecture) {
    case "i386":
      return { architecture: "386", variant: "" };
    case "x86_64":
    case "x86-64":
    case "amd64":
      return { architecture: "amd64", variant: variant === "v1" ? "" : variant };
    case "aarch64":
    case "arm64":
      return {
        architecture: "arm64",
        variant: ["8", "v8", "v8.0"].includes(variant) ? "" : variant,
      };
    case "armhf":
      return { architecture: "arm", variant: "v7" };
    case "armel":
      return { architecture: "arm", variant: "v6" };
    case "arm":
      if (variant === "" || variant === "7") return { architecture, variant: "v7" };
      return { architecture, variant: /^[568]$/.test(variant) ? `v${variant}` : variant };
    default:
      return { architecture, variant };
  }
}

function refused(sentence: string): EngineError {
  return new EngineError("invalid-argument", sentence);
}
