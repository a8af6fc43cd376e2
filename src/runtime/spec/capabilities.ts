import { EngineError } from "../../lib/errors.ts";
import type { RuntimeCapabilities } from "../../oci/runtime-spec.ts";
import { capabilityNames } from "../../sys/capability.ts";

/** What a container has unless it asks otherwise. Docker: mask a80425fb, seen in 28.5 */
export const defaultCapabilities: readonly string[] = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FSETID",
  "CAP_FOWNER",
  "CAP_MKNOD",
  "CAP_NET_RAW",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETFCAP",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_SYS_CHROOT",
  "CAP_KILL",
  "CAP_AUDIT_WRITE",
];

/** Which capabilities somebody asked for; names in any case, with or without `CAP_`, or `ALL`. */
export interface CapabilityRequest {
  readonly add: readonly string[];
  readonly drop: readonly string[];
  readonly isPrivileged: boolean;
}

const all = "ALL";

/**
 * Resolves a request to the bounding set of the container.
 *
 * Privileged is all that the engine has. Defaults that the engine lacks are left out.
 *
 * @param bounding what the engine can hand on
 * @throws invalid-argument for names that do not exist or that the engine lacks
 */
export function resolveCapabilities(
  request: CapabilityRequest,
  bounding: readonly string[],
): readonly string[] {
  const add = normalize(request.add, { field: "CapAdd", bounding });
  const drop = normalize(request.drop, { field: "CapDrop", bounding });
  if (request.isPrivileged) return bounding;
  if (add.includes(all)) return bounding.filter((name) => !drop.includes(name));
  if (drop.includes(all)) return unique(add);
  const kept = defaultCapabilities.filter(
    (name) => !drop.includes(name) && bounding.includes(name),
  );
  return unique([...kept, ...add]);
}

/**
 * The capability sets of a process.
 *
 * Nothing is inheritable or ambient. A user other than root starts with nothing effective and may
 * gain what is bounding by executing a file that gives it.
 */
export function capabilitySets(bounding: readonly string[], uid: number): RuntimeCapabilities {
  const held = uid === 0 ? bounding : [];
  return { bounding, effective: held, permitted: held, inheritable: [], ambient: [] };
}

function normalize(
  names: readonly string[],
  options: { readonly field: string; readonly bounding: readonly string[] },
): readonly string[] {
  return names.map((given) => {
    const upper = given.toUpperCase();
    if (upper === all || upper === `CAP_${all}`) return all;
    const name = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
    if (!capabilityNames.includes(name)) {
      throw invalid(`invalid ${options.field}: unknown capability: ${JSON.stringify(name)}`);
    }
    if (!options.bounding.includes(name)) {
      const reason =
        "capability not supported by your kernel or not available in the current environment";
      throw invalid(`invalid ${options.field}: ${reason}: ${JSON.stringify(name)}`);
    }
    return name;
  });
}

function unique(names: readonly string[]): readonly string[] {
  return [...new Set(names)];
}

function invalid(message: string): EngineError {
  return new EngineError("invalid-argument", message);
}
