import { beforeEach, describe, expect, test } from "bun:test";
import type { ImageDraft } from "../image/image-service.ts";
import { EngineError } from "../lib/errors.ts";
import { silentLogger } from "../lib/log.ts";
import { digestOf } from "../oci/digest.ts";
import { familiarString } from "../oci/reference.ts";
import { type DebugRequest, failedStepLabel, FailedSteps } from "./failed-steps.ts";
import type { RunAction } from "./step.ts";

const run: RunAction = {
  args: ["/bin/bash", "-c", "false"],
  env: ["A=b"],
  hiddenEnv: ["SSH_AUTH_SOCK=/run/agent", "HTTP_PROXY=http://me:pw@proxy:3128/"],
  workingDir: "/w",
  user: "me",
  network: "none",
  isInsecure: false,
  mounts: [{ kind: "secret", id: "s", env: "TOKEN", isRequired: true, mode: 0, uid: 0, gid: 0 }],
  extraHosts: ["a:1.2.3.4"],
};
const diffId = digestOf("layer");
const layers = [{ chainId: diffId, diffId, tarSizeBytes: 1, sizeBytes: 1, createdNs: "1" }];

let log: string[];
let images: Map<string, ImageDraft>;
let fails: boolean;

beforeEach(() => {
  log = [];
  images = new Map();
  fails = false;
});

function open(imageMaxMs?: number): FailedSteps {
  return new FailedSteps({
    images: {
      create: async (draft) => {
        if (fails) throw new EngineError("unavailable", "no space left on device");
        for (const name of draft.names) images.set(familiarString(name), draft);
        return await Promise.resolve({ id: diffId, manifestDigest: diffId, layers: [] });
      },
      remove: async (name) => {
        log.push("image");
        images.delete(name);
        return await Promise.resolve([]);
      },
      list: async () =>
        await Promise.resolve(
          Array.from(images, ([name, { config }]) => ({
            RepoTags: [name],
            Labels: config.config?.Labels,
          })) as never,
        ),
    },
    leases: {
      create: () => "lease",
      add: () => undefined,
      remove: () => log.push("lease"),
    } as never,
    logger: silentLogger,
    removeContainers: async (label, value) => {
      log.push(`containers ${label}${value === undefined ? "" : "=id"}`);
      await Promise.resolve();
    },
    ...(imageMaxMs === undefined ? {} : { imageMaxMs }),
  });
}

async function keep(steps: FailedSteps, debug: DebugRequest): ReturnType<FailedSteps["keep"]> {
  return await steps.keep({
    debug,
    run,
    platform: { os: "linux", architecture: "amd64" },
    layers,
    shown: [],
    held: {
      mounts: [{ type: "bind", source: "/s", target: "/t", isReadOnly: true, isRecursive: true }],
      [Symbol.asyncDispose]: async () => {
        if (!log.includes("mounts")) log.push("mounts");
        await Promise.resolve();
      },
    },
  });
}

const gone = ["containers tug.build.failed-step=id", "image", "lease", "mounts"];

describe("FailedSteps", () => {
  test("tells how a container is as the step was, and keeps secrets out of it", async () => {
    await using steps = open();
    const offer = await keep(steps, { kind: "shell", clientGone: new AbortController().signal });
    expect(offer).toMatchObject({
      shell: ["/bin/bash"],
      network: "none",
      env: ["SSH_AUTH_SOCK=/run/agent"],
      secretVariables: ["TOKEN"],
      extraHosts: ["a:1.2.3.4"],
      mounts: [{ type: "bind", source: "/s", target: "/t", isReadOnly: true }],
    });
    const config = images.get(offer.image)?.config.config;
    expect(config).toMatchObject({ Env: ["A=b"], User: "me", WorkingDir: "/w" });
    expect(offer.label).toBe(`${failedStepLabel}=${config?.Labels?.[failedStepLabel]}`);
    expect(log).toEqual([]);
  });

  test("removes containers, image and mounts, in this order, when the client has gone", async () => {
    await using steps = open();
    const client = new AbortController();
    await keep(steps, { kind: "shell", clientGone: client.signal });
    client.abort();
    await Bun.sleep(5);
    expect(log).toEqual(gone);
  });

  test("does so at once for a client that has gone already", async () => {
    await using steps = open();
    await keep(steps, { kind: "shell", clientGone: AbortSignal.abort() });
    expect(log).toEqual(gone);
  });

  test("keeps an image alone for a time, whatever becomes of its client", async () => {
    await using steps = open(30);
    const offer = await keep(steps, { kind: "image", clientGone: AbortSignal.abort() });
    expect(offer).toMatchObject({ mounts: [], env: [] });
    expect(log).toEqual(["mounts"]);
    expect(images.has(offer.image)).toBe(true);
    await Bun.sleep(60);
    expect(images.has(offer.image)).toBe(false);
  });

  test("gives the mounts back when the image cannot be made", async () => {
    await using steps = open();
    fails = true;
    const clientGone = new AbortController().signal;
    await expect(keep(steps, { kind: "shell", clientGone })).rejects.toThrow("no space left");
    expect(log).toEqual(["lease", "mounts"]);
  });

  test("keeps a few, and none once it is closed", async () => {
    const steps = open();
    const clientGone = new AbortController().signal;
    for (let count = 0; count < 20; count += 1) await keep(steps, { kind: "shell", clientGone });
    expect(images.size).toBe(16);
    await steps[Symbol.asyncDispose]();
    expect(images.size).toBe(0);
  });

  test("sweeps what an earlier daemon left", async () => {
    await using steps = open();
    await keep(open(), { kind: "image", clientGone: AbortSignal.abort() });
    await steps.sweep();
    expect(images.size).toBe(0);
    expect(log).toContain("containers tug.build.failed-step=id");
  });

  test("sweeps no image of others that has the label", async () => {
    await using steps = open();
    const { image } = await keep(open(), { kind: "image", clientGone: AbortSignal.abort() });
    const made = images.get(image);
    images.clear();
    if (made !== undefined) images.set("mine:1", made);
    await steps.sweep();
    expect([...images.keys()]).toEqual(["mine:1"]);
  });
});
