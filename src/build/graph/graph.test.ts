import { describe, expect, test } from "bun:test";
import { EngineError } from "../../lib/errors.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import type { ImageRunConfig } from "../../oci/image-config.ts";
import type { ImageLayers } from "../../image/image-service.ts";
import { parseDockerfile } from "../dockerfile/parse.ts";
import { placeOf } from "../failure.ts";
import { type Graph, type GraphInput, type NamedBase, planGraph } from "./graph.ts";
import { makeStep } from "./make-step.ts";
import type { RunAction, Step } from "../step.ts";

const platform = { os: "linux", architecture: "amd64" };

function imageOf(name: string, config: ImageRunConfig = {}): ImageLayers {
  const id: Digest = digestOf(name);
  return {
    id,
    manifestDigest: id,
    layers: [],
    config: {
      architecture: "amd64",
      os: "linux",
      config: { Env: ["PATH=/bin"], ...config },
      rootfs: { type: "layers", diff_ids: [] },
    },
  };
}

interface Options extends Partial<Omit<GraphInput, "dockerfile" | "sources">> {
  readonly images?: Readonly<Record<string, ImageRunConfig>>;
  readonly contexts?: Readonly<Record<string, NamedBase>>;
  readonly asked?: string[];
}

const context: Step = makeStep({
  action: {
    kind: "context",
    context: { id: "main", open: async () => await Promise.resolve({ path: "/" }) },
  },
  name: "context",
  description: "",
  reads: [],
  isCacheIgnored: false,
  platform,
});

async function plan(text: string, options: Options = {}): Promise<Graph> {
  const { images = {}, contexts = {}, asked = [], ...more } = options;
  return await planGraph({
    dockerfile: parseDockerfile(Buffer.from(text)),
    platform,
    buildPlatform: platform,
    args: new Map(),
    labels: new Map(),
    hasNoCache: false,
    noCacheStages: [],
    network: "default",
    extraHosts: [],
    allows: new Set(),
    showsPlatform: false,
    ...more,
    sources: {
      image: async (reference) => {
        asked.push(reference);
        await Promise.resolve();
        return { image: imageOf(reference, images[reference] ?? {}), shownName: reference };
      },
      mainContext: () => context,
      namedContext: async (name) => await Promise.resolve(contexts[name]),
      remote: () => ({ step: context, isGit: false }),
    },
  });
}

const names = (graph: Graph): readonly string[] =>
  graph.steps.filter(({ action }) => action.kind !== "context").map(({ name }) => name);

function runsOf(graph: Graph): readonly RunAction[] {
  return graph.steps.flatMap(({ action }) => (action.kind === "run" ? [action.run] : []));
}

async function failure(work: Promise<unknown>): Promise<EngineError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof EngineError) return error;
  throw new EngineError("internal", `no failure: ${String(error)}`);
}

describe("planGraph()", () => {
  test("names steps as BuildKit does", async () => {
    const graph = await plan("FROM busybox\nRUN a\nWORKDIR /x\nENV A=b\nCOPY f $A/\n");
    expect(names(graph)).toEqual([
      "[1/4] FROM busybox",
      "[2/4] RUN a",
      "[3/4] WORKDIR /x",
      "[4/4] COPY f b/",
    ]);
  });

  test("a working folder that is the root makes no step, but is counted", async () => {
    const graph = await plan("FROM busybox\nWORKDIR /\nRUN a\n");
    expect(names(graph)).toEqual(["[1/3] FROM busybox", "[2/3] RUN a"]);
  });

  test("counts each stage for itself, padded to one width", async () => {
    const runs = Array.from({ length: 9 }, (_, index) => `RUN ${index}`).join("\n");
    const graph = await plan(`FROM a AS one\n${runs}\nFROM scratch\nCOPY --from=one / /\n`);
    expect(names(graph).at(0)).toBe("[one  1/10] FROM a");
    expect(names(graph).at(9)).toBe("[one 10/10] RUN 8");
    expect(names(graph).at(10)).toBe("[stage-1 1/1] COPY --from=one / /");
  });

  test("leaves out stages that the target does not need", async () => {
    const asked: string[] = [];
    const text = "FROM a AS one\nRUN 1\nFROM b AS two\nRUN 2\nFROM c\nCOPY --from=one / /\n";
    const graph = await plan(text, { asked });
    expect(new Set(asked)).toEqual(new Set(["a", "c"]));
    expect(names(graph)).not.toContain("[two 2/2] RUN 2");
    expect((await plan(text, { target: "two" })).steps).toHaveLength(2);
  });

  test("asks for an image once, however many stages stand on it", async () => {
    const asked: string[] = [];
    await plan("FROM a AS x\nFROM a AS y\nFROM a\nCOPY --from=x / /\nCOPY --from=y / /\n", {
      asked,
    });
    expect(new Set(asked)).toEqual(new Set(["a"]));
  });

  test.each([
    ["FROM scratch AS a\nCOPY --from=b /x /\nFROM scratch AS b\nCOPY --from=a /x /\n", "a"],
    ["FROM scratch AS a\nCOPY --from=a /x /\n", "a"],
    ["FROM scratch AS a\nCOPY --from=c / /\nFROM a AS b\nFROM b AS c\n", "a"],
    ["FROM busybox AS a\nRUN --mount=from=a,target=/x true\n", "a"],
  ])("refuses a circle of stages in %j", async (text, name) => {
    const error = await failure(plan(text));
    expect(error.message).toBe(`circular dependency detected on stage: ${name}`);
    expect(placeOf(error)).toBeDefined();
  });

  test("refuses a target that is no stage, with the nearest name", async () => {
    const text = "FROM scratch AS build\n";
    const message = async (target: string): Promise<string> =>
      (await failure(plan(text, { target }))).message;
    expect(await message("biuld")).toBe(
      'target stage "biuld" could not be found (did you mean build?)',
    );
    expect(await message("zzzzz")).toBe('target stage "zzzzz" could not be found');
  });

  test("refuses an index of a stage that is not above", async () => {
    const error = await failure(plan("FROM scratch\nCOPY --from=7 /x /\n"));
    expect(error.message).toBe("invalid stage index 7");
  });

  test("gives commands the image's variables and the arguments in scope, later ones over earlier", async () => {
    const text = [
      "ARG G=meta",
      "FROM a AS x",
      "ARG G",
      "ARG UNSET",
      "ENV V=1",
      "ARG V=2",
      "RUN one",
      "FROM x",
      "RUN two",
    ].join("\n");
    const [one, two] = runsOf(await plan(text, { args: new Map([["V", "3"]]) }));
    expect(one?.env).toEqual(["PATH=/bin", "G=meta", "V=3"]);
    // Docker: what ENV says is back in the stage on top, arguments stay, seen in 28.5
    expect(two?.env).toEqual(["PATH=/bin", "G=meta", "V=1"]);
  });

  test("tells the arguments in the history, without value as empty", async () => {
    const graph = await plan("FROM a\nARG P\nARG Q=5\nRUN x\n", { args: new Map([["Q", "6"]]) });
    expect(graph.draft.history.at(-1)?.entry.created_by).toBe(
      "RUN |2 P= Q=6 /bin/sh -c x # buildkit",
    );
  });

  test("proxies reach commands in both cases, and neither history nor variables", async () => {
    const graph = await plan("FROM a\nRUN x\n", {
      args: new Map([["http_proxy", "http://s3cret"]]),
    });
    const [run] = runsOf(graph);
    expect(run?.hiddenEnv).toEqual(["HTTP_PROXY=http://s3cret", "http_proxy=http://s3cret"]);
    expect(JSON.stringify([run?.env, graph.draft.history])).not.toContain("s3cret");
  });

  test("runs the triggers of a base, and drops them", async () => {
    const images = { a: { OnBuild: ["RUN triggered", "ENV T=1"] } };
    const graph = await plan("FROM a\nRUN own\n", { images });
    expect(names(graph)).toEqual(["[1/3] FROM a", "[2/3] RUN triggered", "[3/3] RUN own"]);
    expect(graph.draft.config.OnBuild).toBeUndefined();
    expect(graph.draft.env).toContain("T=1");
  });

  test.each(["FROM x", "ONBUILD RUN x", "NOPE", "RUN a\nRUN b"])(
    "refuses the trigger %j at the place of FROM",
    async (trigger) => {
      const error = await failure(plan("FROM a\n", { images: { a: { OnBuild: [trigger] } } }));
      expect(error.kind).toBe("invalid-argument");
      expect(placeOf(error)).toEqual({ startLine: 1, endLine: 1 });
    },
  );

  test("a named context takes the place of an image and of a stage", async () => {
    const named: NamedBase = { kind: "image", image: imageOf("other"), shownName: "other" };
    const graph = await plan("FROM base\nRUN x\n", { contexts: { base: named } });
    expect(names(graph).at(0)).toBe("[1/2] FROM other");
    const asked: string[] = [];
    const text = "FROM a AS dep\nRUN never\nFROM scratch\nCOPY --from=dep / /\n";
    const replaced = await plan(text, { contexts: { dep: named }, asked });
    expect(names(replaced).join()).not.toContain("never");
  });

  test.each([
    ["RUN --network=host x", "failed to load LLB: network.host is not allowed"],
    ["RUN --security=insecure x", "failed to load LLB: security.insecure is not allowed"],
  ])("refuses %s without leave", async (line, message) => {
    const error = await failure(plan(`FROM a\n${line}\n`));
    expect(error.message).toBe(message);
    expect(placeOf(error)).toEqual({ startLine: 2, endLine: 2 });
    const allows = new Set(["network.host", "security.insecure"]);
    expect(runsOf(await plan(`FROM a\n${line}\n`, { allows }))).toHaveLength(1);
  });

  test("a here-document alone is the script; with an interpreter line it is a file", async () => {
    const graph = await plan(
      "FROM a\nRUN <<EOF\necho 1\necho 2\nEOF\nRUN <<X\n#!/bin/awk\nx\nX\nRUN cat <<Y\nz\nY\n",
    );
    const [plain, script, piped] = runsOf(graph);
    expect(plain?.args).toEqual(["/bin/sh", "-c", "echo 1\necho 2\n"]);
    expect(script?.args).toEqual(["/bin/sh", "-c", "/dev/pipes/X"]);
    expect(script?.script).toEqual({ name: "X", content: "#!/bin/awk\nx\n" });
    expect(piped?.args).toEqual(["/bin/sh", "-c", "cat <<Y\nz\nY"]);
    expect(names(graph).at(1)).toBe("[2/4] RUN <<EOF (echo 1...)");
  });

  test("mounts get their targets from the working folder, and secrets their usual place", async () => {
    const line =
      "RUN --mount=type=bind,target=b --mount=type=secret,id=s --mount=type=secret,id=t,env=T --mount=type=cache,target=/c x";
    const [run] = runsOf(await plan(`FROM a\nWORKDIR /w\n${line}\n`));
    const targets = run?.mounts.map((mount) => mount.target);
    expect(targets).toEqual(["/w/b", "/run/secrets/s", undefined, "/c"]);
  });

  test("steps that are to run anew say so, by stage or for all", async () => {
    const text = "FROM a AS one\nRUN 1\nFROM one AS two\nRUN 2\n";
    const ignored = async (options: Options): Promise<readonly boolean[]> =>
      (await plan(text, options)).steps
        .filter(({ action }) => action.kind === "run")
        .map(({ isCacheIgnored }) => isCacheIgnored);
    expect(await ignored({})).toEqual([false, false]);
    expect(await ignored({ hasNoCache: true })).toEqual([true, true]);
    expect(await ignored({ noCacheStages: ["TWO"] })).toEqual([false, true]);
  });

  test("labels of the request are the image's", async () => {
    const graph = await plan("FROM scratch\nLABEL a=1 b=1\n", { labels: new Map([["b", "2"]]) });
    expect(graph.draft.config.Labels).toEqual({ a: "1", b: "2" });
  });

  test("says platforms where there are several", async () => {
    const graph = await plan("FROM --platform=linux/arm64 a\nRUN x\n", { showsPlatform: true });
    expect(names(graph)).toEqual([
      "[linux/arm64->amd64 1/2] FROM a",
      "[linux/arm64->amd64 2/2] RUN x",
    ]);
  });
});
