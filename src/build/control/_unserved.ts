/** Attributes that change what a build comes to, and are not served: each is refused by its name. */
import { EngineError } from "../../lib/errors.ts";
import { readBool, splitCsv } from "./_csv.ts";

/** @throws not-implemented */
export function refuseUnserved(attrs: ReadonlyMap<string, string>): void {
  const isSingle = splitCsv(attrs.get("platform") ?? "").length < 2;
  for (const name of ["multi-platform", "build-arg:BUILDKIT_MULTI_PLATFORM"]) {
    // Several platforms make an index anyway, one without attestations none.
    if (isSingle && readBool(attrs.get(name)) === true) throw refused(name);
  }
  if (!isSingle && readBool(attrs.get("multi-platform")) === false) throw refused("multi-platform");
  if ((attrs.get("hostname") ?? "") !== "") throw refused("hostname");
}

function refused(name: string): EngineError {
  return new EngineError(
    "not-implemented",
    `${name.replace(/^build-arg:/, "build argument ")} is not supported`,
  );
}
