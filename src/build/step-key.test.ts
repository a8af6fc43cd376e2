import { describe, expect, test } from "bun:test";
import { digestOf } from "../oci/digest.ts";
import { type KeyInputs, stepKey } from "./step-key.ts";
import type { RunAction, RunMountAction, StepAction } from "./step.ts";

const inputs: KeyInputs = { below: digestOf("below"), contents: ["a", "b"] };
const run: RunAction = {
  args: ["/bin/sh", "-c", "make"],
  env: ["PATH=/bin"],
  hiddenEnv: [],
  workingDir: "/",
  user: "",
  network: "default",
  isInsecure: false,
  mounts: [],
  extraHosts: [],
};
const secret: RunMountAction = {
  kind: "secret",
  id: "token",
  target: "/run/secrets/token",
  isRequired: false,
  mode: 0o400,
  uid: 0,
  gid: 0,
};
const action = (change: Partial<RunAction> = {}): StepAction => ({
  kind: "run",
  run: { ...run, ...change },
});
const key = (change: Partial<RunAction> = {}, more: Partial<KeyInputs> = {}): string =>
  stepKey(action(change), { ...inputs, ...more });

describe("stepKey()", () => {
  test("is the same for the same step", () => {
    expect(key()).toBe(key());
    expect(key()).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  test.each([
    ["the command", { args: ["x"] }],
    ["a variable", { env: ["PATH=/bin", "A=1"] }],
    ["the working folder", { workingDir: "/w" }],
    ["the user", { user: "1" }],
    ["the network", { network: "none" as const }],
    ["rights", { isInsecure: true }],
    ["a mount", { mounts: [secret] }],
    ["hosts", { extraHosts: ["a:1.2.3.4"] }],
    ["a script", { script: { name: "EOF", content: "x" } }],
  ])("differs by %s", (_, change) => {
    expect(key(change)).not.toBe(key());
  });

  test.each([
    ["the layers below", { below: digestOf("other") }],
    ["nothing below", { below: undefined }],
    ["what is read", { contents: ["a", "c"] }],
    ["the order of what is read", { contents: ["b", "a"] }],
    ["the epoch", { epochS: 0 }],
  ])("differs by %s", (_, change) => {
    expect(key({}, change)).not.toBe(key());
  });

  test("does not differ by what only the command may know", () => {
    expect(key({ hiddenEnv: ["HTTP_PROXY=http://user:password@proxy"] })).toBe(key());
  });

  test("a file written in the Dockerfile counts by its content", () => {
    const copy = (text: string): string =>
      stepKey(
        {
          kind: "copy",
          copy: {
            sources: [{ kind: "content", name: "f", bytes: Buffer.from(text) }],
            destination: "/f",
          },
        },
        inputs,
      );
    expect(copy("a")).toBe(copy("a"));
    expect(copy("a")).not.toBe(copy("b"));
  });
});
