/** The engine itself: ping, version, info, auth, what is refused. */
import { at } from "../../support/json.ts";
import type { Scenario } from "../talk.ts";

/** Versions at which answers are compared: the ends, and around each change of shape. */
export const versions: readonly string[] = ["1.24", "1.40", "1.43", "1.44", "1.47", "1.49", "1.51"];

/** The keys of a document and the kinds of its values: machines differ, shapes do not. */
export function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shapeOf(value[0])];
  if (typeof value !== "object" || value === null) return value === null ? null : typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, shapeOf(item)]));
}

/** Other users of the other engine have containers, too. */
function withoutContainers(network: unknown): unknown {
  return typeof network === "object" ? { ...network, Containers: undefined } : network;
}

export const systemScenarios: readonly Scenario[] = [
  {
    name: "ping",
    async run(talk) {
      for (const version of ["", ...versions]) {
        await talk.ask(`GET ${version}`, "GET /_ping", { version, read: "text" });
        await talk.ask(`HEAD ${version}`, "HEAD /_ping", { version, read: "text" });
      }
    },
  },
  {
    name: "version and info",
    async run(talk) {
      for (const version of ["", ...versions]) {
        const path = version === "" ? "" : `/v${version}`;
        const told = await talk.engine.api("GET", `${path}/version`);
        talk.note(`version ${version}`, shapeOf(told.json));
        talk.note(`version ${version} names`, {
          ApiVersion: at(told.json, "ApiVersion"),
          MinAPIVersion: at(told.json, "MinAPIVersion"),
          Os: at(told.json, "Os"),
          Arch: at(told.json, "Arch"),
        });
        talk.note(`info ${version}`, shapeOf((await talk.engine.api("GET", `${path}/info`)).json));
      }
    },
  },
  {
    name: "what is refused before any handler",
    async run(talk) {
      const targets = [
        "GET /v1.23/version",
        "GET /v1.52/version",
        "GET /v1.99/containers/json",
        "GET /v1.51.1/version",
        "GET /v2/version",
        "GET /nothing",
        "GET /v1.51/nothing",
        "POST /version",
        "DELETE /v1.51/containers/json",
        "PUT /v1.51/containers/x/json",
        "GET /v1.51/containers",
        "GET /v1.51/images",
        "GET /v1.51/containers//json",
        "GET /v1.51//version",
        "HEAD /v1.51/version",
        "HEAD /v1.51/containers/json",
        "OPTIONS /v1.51/version",
        "GET /v1.51/version/",
        "GET /",
        "GET /v1.51/exec/x/start",
      ];
      for (const target of targets) {
        await talk.ask(target, target, { version: "", read: "json" });
      }
    },
  },
  {
    name: "auth",
    async run(talk) {
      await talk.ask("no body", "POST /auth");
      await talk.ask("no content type", "POST /auth", {
        body: "{}",
        headers: { "Content-Type": "text/plain" },
      });
      await talk.ask("malformed", "POST /auth", { body: "{" });
      await talk.ask("unreachable", "POST /auth", {
        body: { username: "u", password: "p", serveraddress: "https://127.0.0.1:1/v2/" },
      });
    },
  },
  {
    name: "networks",
    async run(talk) {
      const names = encodeURIComponent(JSON.stringify({ name: ["bridge", "host", "none"] }));
      for (const version of versions) {
        const listed = await talk.engine.api("GET", `/v${version}/networks?filters=${names}`);
        const networks = Array.isArray(listed.json) ? listed.json : [];
        networks.sort((a, b) => String(at(a, "Name")).localeCompare(String(at(b, "Name"))));
        talk.note(`list ${version}`, networks.map(withoutContainers));
      }
      for (const [label, filters] of [
        ["driver", { driver: ["null"] }],
        ["type", { type: ["custom"], name: ["cf-nothing"] }],
        ["builtin", { type: ["builtin"], driver: ["host"] }],
        ["scope", { scope: ["swarm"] }],
        ["dangling", { dangling: ["true"], name: ["cf-nothing"] }],
        ["bad key", { size: ["1"] }],
        ["bad type", { type: ["odd"] }],
      ] as const) {
        const query = encodeURIComponent(JSON.stringify(filters));
        await talk.ask(`filter ${label}`, `GET /networks?filters=${query}`);
      }
      for (const text of ["", "?verbose=1", "?scope=local"]) {
        const inspected = await talk.api("GET", `/networks/host${text}`);
        talk.note(`inspect host ${text}`, withoutContainers(inspected.json));
      }
      await talk.ask("inspect in other scope", "GET /networks/host?scope=swarm");
      await talk.ask("inspect nothing", "GET /networks/cf-nothing");
    },
  },
];
