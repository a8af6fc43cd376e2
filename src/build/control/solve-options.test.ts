import { describe, expect, test } from "bun:test";
import { EngineError } from "../../lib/errors.ts";
import type { ContextSource } from "../build-service.ts";
import { readBool, readPairs, splitCsv } from "./_csv.ts";
import { exporterResponse, readOutputs } from "./outputs.ts";
import { definitionOfResult, resultOfDefinition } from "./result-definition.ts";
import {
  type FrontendPart,
  readAttestations,
  readCaches,
  readFrontendAttrs,
} from "./solve-options.ts";

const read = (
  attrs: Readonly<Record<string, string>>,
  inputs: Readonly<Record<string, ContextSource>> = {},
): FrontendPart => readFrontendAttrs(new Map(Object.entries(attrs)), (name) => inputs[name]);

describe("the frontend's attributes", () => {
  test("without any build the local context with its Dockerfile", () => {
    expect(read({})).toEqual({
      main: { kind: "local", name: "context" },
      dockerfileFrom: { kind: "local", name: "dockerfile" },
      contexts: new Map(),
      args: new Map(),
      labels: new Map(),
      platforms: [],
      hasNoCache: false,
      noCacheStages: [],
      isPulled: false,
      network: "default",
      extraHosts: [],
      ulimits: [],
    });
  });

  test("all say what they say", () => {
    const part = read({
      filename: "sub/Dockerfile.dev",
      target: "test",
      "build-arg:A": "1",
      "build-arg:EMPTY": "",
      "build-arg:SOURCE_DATE_EPOCH": "1700000000",
      "label:l": "v",
      "no-cache": "a,b",
      "image-resolve-mode": "pull",
      platform: "linux/amd64,linux/arm64/v8",
      "cgroup-parent": "slice",
      "force-network-mode": "none",
      ulimit: "nofile=10:20,nproc=5:5",
      "shm-size": "1048576",
      "add-hosts": "a=1.2.3.4,b=[::1],c=::2",
      source: "docker/dockerfile:1",
      "frontend.caps": "moby.buildkit.frontend.contexts+forward",
      unknown: "ignored",
    });
    expect(part.dockerfileName).toBe("sub/Dockerfile.dev");
    expect(part.target).toBe("test");
    expect(part.args.get("A")).toBe("1");
    expect(part.args.get("EMPTY")).toBe("");
    expect(part.sourceDateEpoch).toBe(1_700_000_000);
    expect(part.labels).toEqual(new Map([["l", "v"]]));
    expect([part.hasNoCache, part.noCacheStages]).toEqual([false, ["a", "b"]]);
    expect(part.isPulled).toBe(true);
    expect(part.platforms.map(({ architecture }) => architecture)).toEqual(["amd64", "arm64"]);
    expect(part.cgroupParent).toBe("slice");
    expect(part.network).toBe("none");
    expect(part.ulimits).toEqual([
      { name: "nofile", soft: 10, hard: 20 },
      { name: "nproc", soft: 5, hard: 5 },
    ]);
    expect(part.shmSizeBytes).toBe(1_048_576);
    expect(part.extraHosts).toEqual(["a:1.2.3.4", "b:::1", "c:::2"]);
  });

  test("no-cache without stages is for all", () => {
    expect(read({ "no-cache": "" })).toMatchObject({ hasNoCache: true, noCacheStages: [] });
  });

  test.each([
    ["https://github.com/a/b.git", "git"],
    ["https://github.com/a/b.git#main:docs", "git"],
    ["git@github.com:a/b", "git"],
    ["ssh://git@host/a", "git"],
    ["git://host/a", "git"],
    ["github.com/a/b", "git"],
    ["https://host/context.tar.gz", "http"],
    ["http://buildkit-session/abc", "http"],
  ])("a context %s is %s", (url, kind) => {
    const part = read({ context: url });
    expect(part.main).toEqual({ kind, url } as ContextSource);
    // The Dockerfile is there, too.
    expect(part.dockerfileFrom).toBeUndefined();
  });

  test("a Dockerfile of the client's goes with a remote context", () => {
    const part = read({ context: "https://host/x.git", dockerfilekey: "dockerfile" });
    expect(part.dockerfileFrom).toEqual({ kind: "local", name: "dockerfile" });
  });

  test("named contexts are what they are, by lower-case name", () => {
    const part = read(
      {
        "context:Base": "docker-image://alpine:3",
        "context:docker.io/library/x:latest": "local:dir",
        "context:repo": "https://host/x.git#v1",
        "context:file": "https://host/x.tar",
        "context:layout": "oci-layout://store:latest@sha256:00",
        "context:linked": "input:linked",
        "context:multi::linux/amd64": "docker-image://y",
      },
      { linked: { kind: "image", reference: "sha256:11" } },
    );
    expect(Object.fromEntries(part.contexts)).toEqual({
      base: { kind: "image", reference: "alpine:3" },
      "docker.io/library/x": { kind: "local", name: "dir" },
      repo: { kind: "git", url: "https://host/x.git#v1" },
      file: { kind: "http", url: "https://host/x.tar" },
      layout: { kind: "oci-layout", name: "store", reference: "store:latest@sha256:00" },
      linked: { kind: "image", reference: "sha256:11" },
      multi: { kind: "image", reference: "y" },
    });
  });

  test.each([
    ["frontend.lint", "check"],
    ["frontend.outline", "outline"],
    ["frontend.targets", "targets"],
  ] as const)("the request %s is %s", (id, subrequest) => {
    expect(read({ requestid: id }).subrequest).toBe(subrequest);
  });

  test.each([
    { requestid: "frontend.nonsense" },
    { "force-network-mode": "bridge" },
    { ulimit: "nofile" },
    { ulimit: "nofile=a:b" },
    { "shm-size": "1g" },
    { "shm-size": "-1" },
    { "add-hosts": "nothing" },
    { platform: "///" },
    { "build-arg:SOURCE_DATE_EPOCH": "yesterday" },
    { "context:x": "input:gone" },
    { "context:x": "ftp://host/x" },
    { "context:x": "plain" },
  ])("%p is refused", (attrs) => {
    expect(() => read(attrs as Record<string, string>)).toThrow(EngineError);
  });
});

describe("caches", () => {
  const entry = (type: string, attrs: Readonly<Record<string, string>> = {}) => ({
    type,
    attrs: new Map(Object.entries(attrs)),
  });

  test("come from all the places where clients name them, each once", () => {
    const { cacheFrom, cacheTo } = readCaches({
      attrs: new Map([
        ["cache-from", "reg/a,reg/b"],
        ["cache-imports", '[{"Type":"registry","Attrs":{"ref":"reg/a"}}]'],
        ["build-arg:BUILDKIT_INLINE_CACHE", "1"],
      ]),
      imports: [entry("registry", { ref: "reg/a" })],
      exports: [entry("registry", { ref: "reg/c", mode: "max" })],
    });
    expect(cacheFrom.map(({ attributes }) => attributes["ref"])).toEqual(["reg/a", "reg/b"]);
    expect(cacheTo).toEqual([
      { type: "registry", mode: "max", attributes: { ref: "reg/c", mode: "max" } },
      { type: "inline", mode: "min", attributes: {} },
    ]);
  });

  test("of unknown kinds, and what is no list, are refused", () => {
    const none = { attrs: new Map<string, string>(), imports: [], exports: [] };
    expect(() => readCaches({ ...none, exports: [entry("s3")] })).toThrow(
      'unknown cache exporter: "s3"',
    );
    for (const text of ["{", "{}", "7"]) {
      const attrs = new Map([["cache-imports", text]]);
      expect(() => readCaches({ ...none, attrs })).toThrow(EngineError);
    }
  });
});

describe("attestations", () => {
  test.each([
    [{}, { sbom: false }],
    [
      { "attest:provenance": "mode=min,inline-only=true" },
      { sbom: false, provenance: "min", isInlineOnly: true },
    ],
    [{ "attest:provenance": "mode=max" }, { sbom: false, provenance: "max" }],
    [{ "attest:provenance": "disabled=true" }, { sbom: false }],
    [
      { "attest:provenance": "builder-id=https://ci.test/1,reproducible=true,version=v0.2" },
      {
        sbom: false,
        provenance: "min",
        builderId: "https://ci.test/1",
        isReproducible: true,
      },
    ],
    [{ "attest:sbom": "" }, { sbom: true }],
    [{ "attest:sbom": "disabled=true" }, { sbom: false }],
  ] as const)("%p", (attrs, wanted) => {
    expect(readAttestations(new Map(Object.entries(attrs)))).toEqual(wanted as never);
  });

  test.each(["mode=some", "version=v1"])("%s is refused", (text) => {
    expect(() => readAttestations(new Map([["attest:provenance", text]]))).toThrow(EngineError);
  });
});

describe("outputs", () => {
  const output = (type: string, attrs: Readonly<Record<string, string>> = {}) =>
    readOutputs([{ type, attrs: new Map(Object.entries(attrs)) }])[0];

  test("are what exporters are", () => {
    expect(output("moby", { name: "a:1,b:2" })).toEqual({
      kind: "image",
      names: ["a:1", "b:2"],
      isPushed: false,
    });
    expect(output("image", { name: "a", push: "true" })).toEqual({
      kind: "image",
      names: ["a"],
      isPushed: true,
    });
    expect(output("oci", { compression: "zstd" })).toEqual({
      kind: "oci",
      names: [],
      isTar: true,
      compression: "zstd",
    });
    expect(output("oci", { tar: "false", "force-compression": "true" })).toEqual({
      kind: "oci",
      names: [],
      isTar: false,
      compression: "gzip",
      isForced: true,
    });
    expect(output("image", { name: "a", push: "1", "push-by-digest": "true" })).toEqual({
      kind: "image",
      names: ["a"],
      isPushed: true,
      isByDigest: true,
    });
    expect(output("local", { "platform-split": "false" })).toEqual({
      kind: "local",
      splitsPlatforms: false,
    });
    expect(output("tar")).toEqual({ kind: "tar" });
  });

  test.each([
    ["nonsense", {}],
    ["docker", { compression: "lzma" }],
    ["image", { compression: "estargz" }],
  ])("%s with %p is refused", (type, attrs) => {
    expect(() => output(type, attrs as Record<string, string>)).toThrow(EngineError);
  });

  test("tell what clients read of them", () => {
    const response = exporterResponse(
      { imageId: "sha256:aa" as never, metadata: { own: "1" }, warnings: [] },
      readOutputs([{ type: "moby", attrs: new Map([["name", "x:1"]]) }]),
    );
    expect(Object.fromEntries(response)).toEqual({
      own: "1",
      "containerimage.config.digest": "sha256:aa",
      "containerimage.digest": "sha256:aa",
      "image.name": "x:1",
    });
  });
});

describe("lists in attributes", () => {
  test.each([
    ["a,b", ["a", "b"]],
    ["", [""]],
    ['"a,b",c', ["a,b", "c"]],
    ['"say ""x""",y', ['say "x"', "y"]],
    ['"unclosed,x', ["unclosed,x"]],
  ])("%p", (text, parts) => {
    expect(splitCsv(text)).toEqual(parts);
  });

  test("pairs and truth", () => {
    expect(readPairs("a=1,b,c=x=y")).toEqual(
      new Map([
        ["a", "1"],
        ["b", ""],
        ["c", "x=y"],
      ]),
    );
    expect(["1", "true", "F", "maybe", undefined].map(readBool)).toEqual([
      true,
      true,
      false,
      undefined,
      undefined,
    ]);
  });
});

describe("results as definitions", () => {
  test("come back", () => {
    expect(resultOfDefinition(definitionOfResult("abc"))).toBe("abc");
  });

  test("are told from other definitions", () => {
    const metadata = new Map();
    expect(resultOfDefinition({ def: [], metadata })).toBeUndefined();
    expect(
      resultOfDefinition({ def: [Buffer.from("\xff\xff", "latin1")], metadata }),
    ).toBeUndefined();
  });
});
