/** Requests for tests. */
import type { SolveRequest } from "../../api/buildkit/control.ts";

/** A request for a build that has only a name. */
export function solveRequestOf(ref: string): SolveRequest {
  return {
    ref,
    definition: undefined,
    exporter: "",
    exporterAttrs: new Map(),
    session: "",
    frontend: "",
    frontendAttrs: new Map(),
    cache: undefined,
    entitlements: [],
    frontendInputs: new Map(),
    internal: false,
    exporters: [],
  };
}
