/** Which images the daemon takes: a policy file, or one key that must have signed them all. */
import { EngineError } from "../lib/errors.ts";
import { type Policy, readPolicy, requireSigned } from "../image/trust/policy-file.ts";
import type { DaemonOption } from "./options.ts";

/** The options. Both take effect on a reload. */
export const policyOptions: readonly DaemonOption[] = [
  file("image-policy", "Policy file (policy.json) that says which images may be pulled and run"),
  file("require-signed", "Public key file: only images signed with it may be pulled and run"),
];

/** Reads the policy, keys included. @throws invalid-argument with the place in the file */
export function policyOf(values: ReadonlyMap<string, unknown>): Policy | undefined {
  const [policyPath, keyPath] = ["image-policy", "require-signed"].map((key) => {
    const value = values.get(key);
    return typeof value === "string" && value !== "" ? value : undefined;
  });
  if (policyPath !== undefined && keyPath !== undefined) {
    throw new EngineError(
      "invalid-argument",
      "image-policy and require-signed exclude each other: the file can say sigstoreSigned",
    );
  }
  if (policyPath !== undefined) return readPolicy(policyPath);
  return keyPath === undefined ? undefined : requireSigned(keyPath);
}

function file(key: string, help: string): DaemonOption {
  return { key, type: "string", flag: { name: key, kind: "text", help }, isReloadable: true };
}
