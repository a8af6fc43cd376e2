import { describe, expect, test } from "bun:test";
import type { Transport } from "../../client/transport.ts";
import { EngineError, messageOf } from "../../lib/errors.ts";
import { withHints } from "./hints.ts";

/** An engine that has some images and refuses everything else with a sentence. */
function engineWith(tags: readonly string[], refusal: string): Transport {
  const refuse = (): Promise<never> => Promise.reject(new EngineError("not-found", refusal));
  return {
    endpoint: { kind: "unix", path: "/nowhere" },
    version: "1.51",
    json: (target: string) =>
      target === "GET /images/json"
        ? Promise.resolve(tags.map((tag) => ({ RepoTags: [tag] })))
        : refuse(),
    text: refuse,
    send: refuse,
    stream: refuse,
    hijack: refuse,
  } as unknown as Transport;
}

const refusalOf = async (tags: readonly string[], refusal: string, target = "GET /x") =>
  await withHints(engineWith(tags, refusal))
    .json(target as never)
    .then(
      () => "",
      (error: unknown) => messageOf(error),
    );

describe("withHints()", () => {
  test("names the image that is nearest to the missing one", async () => {
    expect(await refusalOf(["my_image:latest", "other:1"], "No such image: myimage")).toBe(
      "No such image: myimage (did you mean my_image?)",
    );
    expect(await refusalOf(["busybox:1.36"], "No such image: busybox:1.35")).toBe(
      "No such image: busybox:1.35 (did you mean busybox:1.36?)",
    );
  });

  test("leaves other refusals, and those without a near image, as they are", async () => {
    for (const refusal of ["No such image: far-away", "No such container: my_imag", "busy"]) {
      expect(await refusalOf(["my_image:latest"], refusal)).toBe(refusal);
    }
  });

  test("a missing image of a container to be made is not told yet: it may be pulled", async () => {
    const refusal = "No such image: myimage";
    expect(await refusalOf(["my_image:latest"], refusal, "POST /containers/create")).toBe(refusal);
  });
});
