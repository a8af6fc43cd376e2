import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { EngineError } from "../lib/errors.ts";
import { renderRoutes, routes } from "./route-table.ts";
import { getRoute, isServedIn, matchRoute, pathLengthMax } from "./routes.ts";
import { apiVersionMax, apiVersionMin, compareVersions } from "./versions.ts";

const goldenPath = new URL("../../test/golden/routes.txt", import.meta.url);

test("the table is as recorded", () => {
  // A change of contract is a change of that file: TUG_UPDATE_GOLDEN=1 bun test src/api/routes
  if (process.env["TUG_UPDATE_GOLDEN"] === "1") writeFileSync(goldenPath, renderRoutes());
  expect(renderRoutes()).toBe(readFileSync(goldenPath, "utf8"));
});

describe("the table", () => {
  test("names and targets are unique", () => {
    expect(new Set(routes.map((route) => route.name)).size).toBe(routes.length);
    const targets = new Set(routes.map((route) => `${route.method} ${route.path}`));
    expect(targets.size).toBe(routes.length);
  });
  test("versions are within those served", () => {
    for (const route of routes) {
      if (route.since === undefined) continue;
      expect(compareVersions(route.since, apiVersionMin)).toBeGreaterThan(0);
      expect(compareVersions(route.since, apiVersionMax)).toBeLessThanOrEqual(0);
    }
  });
  test("every operation is found by its own path, with and without a version", () => {
    for (const route of routes) {
      const path = route.path.replaceAll(/\{(\w+)\}/g, "a-$1");
      expect(matchRoute(route.method, path)?.route.name).toBe(route.name);
      const versioned = matchRoute(route.method, `/v1.43${path}`);
      expect([versioned?.route.name, versioned?.version]).toEqual([route.name, "1.43"]);
      expect(getRoute(route.name)).toBe(route);
    }
  });
});

test("an operation is served from its first version on, to its last", () => {
  const prune = getRoute("VolumePrune");
  expect([isServedIn(prune, "1.24"), isServedIn(prune, "1.25")]).toEqual([false, true]);
  expect(isServedIn(getRoute("VolumeList"), "1.24")).toBe(true);
  const gone = { ...prune, until: "1.40" };
  expect([isServedIn(gone, "1.40"), isServedIn(gone, "1.41")]).toEqual([true, false]);
});

describe("matchRoute()", () => {
  const found: readonly (readonly [string, string, Record<string, string>])[] = [
    ["GET /images/json", "ImageList", {}],
    ["GET /images/a/b/json", "ImageInspect", { name: "a/b" }],
    ["GET /images/json/json", "ImageInspect", { name: "json" }],
    ["GET /images/host:5000/a/b@sha256:0/json", "ImageInspect", { name: "host:5000/a/b@sha256:0" }],
    ["POST /images/a/b/tag", "ImageTag", { name: "a/b" }],
    ["POST /images/tag/tag", "ImageTag", { name: "tag" }],
    ["DELETE /images/a/b/c:d", "ImageDelete", { name: "a/b/c:d" }],
    ["GET /images/a%2fb/json", "ImageInspect", { name: "a/b" }],
    ["GET /images/a%252fb/json", "ImageInspect", { name: "a%2fb" }],
    ["GET /containers/a%2fb/json", "ContainerInspect", { id: "a/b" }],
    ["GET /containers/a%00b/json", "ContainerInspect", { id: "a\0b" }],
    ["GET /containers/../json", "ContainerInspect", { id: ".." }],
    ["GET /containers/x/attach/ws", "ContainerAttachWebsocket", { id: "x" }],
    ["DELETE /containers/x/checkpoints/y", "CheckpointDelete", { id: "x", checkpoint: "y" }],
    ["GET /v1.51//info", "SystemInfo", {}],
    ["GET //v1.51/info", "SystemInfo", {}],
    ["GET /containers//json", "ContainerList", {}],
    ["GET /networks/", "NetworkListSlash", {}],
    ["GET /networks", "NetworkList", {}],
    ["POST /volumes/create", "VolumeCreate", {}],
    ["GET /volumes/create", "VolumeInspect", { name: "create" }],
    ["GET /v1.043/version", "SystemVersion", {}],
    ["GET /v2/info", "SystemInfo", {}],
  ];
  test.each(found)("%s", (target, name, params) => {
    const [method = "", path = ""] = target.split(" ");
    const match = matchRoute(method, path);
    expect(match?.route.name as string | undefined).toBe(name);
    expect(match?.params).toEqual(params);
  });

  // Docker answers each of these 404 "page not found"
  test.each([
    "GET /",
    "GET ",
    "GET info",
    "GET /v1.51",
    "GET /v1.51/",
    "GET /v1.x/info",
    "GET /v/info",
    "GET /nope",
    "GET /v1.99/nope",
    "GET /info/",
    "POST /info",
    "DELETE /_ping",
    "PUT /info",
    "get /info",
    "GET /containers/",
    "GET /volumes/",
    "GET /toString",
    "GET /v1.51/v1.51/info",
  ])("nothing is at %p", (target) => {
    const [method = "", path = ""] = target.split(" ");
    expect(matchRoute(method, path)).toBeUndefined();
  });

  test.each(["/containers/a%zzb/json", "/containers/%/json", "/containers/%ff/json"])(
    "%p is refused",
    (path) => {
      expect(() => matchRoute("GET", path)).toThrow(EngineError);
    },
  );
  test("a path beyond the limit is refused", () => {
    expect(() => matchRoute("GET", `/${"a".repeat(pathLengthMax)}`)).toThrow(/longer than/);
  });

  test("fuzz: any parameter comes back as it was sent", () => {
    const text = fc.string({ minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(text, (name) => {
        fc.pre(!/\/\/|^\/|\/$/.test(name));
        const path = `/v1.51/images/${encodeURIComponent(name)}/history`;
        const match = matchRoute("GET", path);
        expect([match?.route.name, match?.params]).toEqual(["ImageHistory", { name }]);
      }),
      { numRuns: 300 },
    );
  });
  test("fuzz: any path is matched, not matched, or refused", () => {
    fc.assert(
      fc.property(fc.constantFrom("GET", "POST", "DELETE"), fc.webPath(), (method, path) => {
        expect(["object", "undefined"]).toContain(typeof matchRoute(method, path));
      }),
      { numRuns: 300 },
    );
  });
});
