import { EngineError } from "../../lib/errors.ts";
import type { RuntimeNamespace } from "../../oci/runtime-spec.ts";
import type { OwnNamespaces } from "./sysctls.ts";
import type { NamespaceInput, SpecInput } from "./spec-input.ts";

/** The network namespace of whoever runs the OCI runtime, named so that the runtime joins it. */
const inheritedNetworkPath = "/proc/self/ns/net";

/** The namespaces of a spec; those of the host are left out. */
export function planNamespaces(namespaces: SpecInput["namespaces"]): readonly RuntimeNamespace[] {
  if (namespaces.user.kind === "private") {
    throw new EngineError("not-implemented", "user namespaces of a container are not implemented");
  }
  const { ipc, network } = namespaces;
  return [
    { type: "mount" },
    ...one("network", network.kind === "inherited" ? joined(inheritedNetworkPath) : network),
    ...one("uts", namespaces.uts),
    ...one("pid", namespaces.pid),
    ...one("ipc", ipc.kind === "none" ? { kind: "private" } : ipc),
    ...one("cgroup", namespaces.cgroup),
    ...one("user", namespaces.user),
  ];
}

/** Tells which namespaces belong to the container, be it new ones or another container's. */
export function ownNamespaces(namespaces: SpecInput["namespaces"]): OwnNamespaces {
  return {
    network: namespaces.network.kind === "private" || namespaces.network.kind === "inherited",
    ipc: namespaces.ipc.kind !== "host",
    uts: namespaces.uts.kind !== "host",
    user: namespaces.user.kind !== "host",
  };
}

function joined(path: string): NamespaceInput {
  return { kind: "path", path };
}

function one(type: RuntimeNamespace["type"], input: NamespaceInput): readonly RuntimeNamespace[] {
  switch (input.kind) {
    case "host":
      return [];
    case "private":
      return [{ type }];
    case "path":
      return [{ type, path: input.path }];
  }
}
