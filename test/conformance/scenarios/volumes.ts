/** Volumes: everything. */
import type { Scenario } from "../talk.ts";
import { versions } from "./system.ts";

const query = (filters: unknown): string =>
  `filters=${encodeURIComponent(typeof filters === "string" ? filters : JSON.stringify(filters))}`;
const Labels = { "cf-comparison": "1" };

export const volumeScenarios: readonly Scenario[] = [
  {
    name: "volumes",
    async run(talk) {
      const body = { Name: "cf-vol", Labels: { ...Labels, team: "blue" } };
      await talk.ask("create", "POST /volumes/create", { body });
      await talk.ask("create again", "POST /volumes/create", { body });
      await talk.ask("create with driver", "POST /volumes/create", {
        body: { Name: "cf-vol2", Driver: "local", DriverOpts: {}, Labels },
      });
      await talk.ask("create tmpfs", "POST /volumes/create", {
        body: {
          Name: "cf-vol3",
          DriverOpts: { type: "tmpfs", device: "tmpfs", o: "size=1m" },
          Labels,
        },
      });
      const anonymous = await talk.ask("create anonymous", "POST /volumes/create", {
        body: { Labels },
      });
      await talk.api("DELETE", `/volumes/${(anonymous.json as { Name?: string }).Name}`);
      for (const [label, wrong] of Object.entries({
        "no body": undefined,
        malformed: "{",
        "bad name": { Name: "a b", Labels },
        "short name": { Name: "a", Labels },
        "unknown driver": { Name: "cf-vol4", Driver: "odd", Labels },
        "unknown option": { Name: "cf-vol5", DriverOpts: { odd: "1" }, Labels },
        "option without its others": { Name: "cf-vol6", DriverOpts: { type: "tmpfs" }, Labels },
        "bad type": { Name: 3, Labels },
        "other options than it has": { Name: "cf-vol3", DriverOpts: { o: "x" }, Labels },
        cluster: { Name: "cf-vol7", ClusterVolumeSpec: { Group: "x" }, Labels },
      })) {
        await talk.ask(`create ${label}`, "POST /volumes/create", { body: wrong });
      }
      await talk.create("cf-vc", { HostConfig: { Binds: ["cf-vol:/x"] } });
      for (const version of versions) {
        await talk.ask(`inspect at ${version}`, "GET /volumes/cf-vol", { version });
        await talk.ask(`inspect options at ${version}`, "GET /volumes/cf-vol3", { version });
        await talk.ask(`list at ${version}`, `GET /volumes?${query({ name: ["cf-vol"] })}`, {
          version,
        });
      }
      const filters: Readonly<Record<string, unknown>> = {
        none: { name: ["cf-nothing"] },
        label: { label: ["team=blue"] },
        "label not": { "label!": ["team=blue"], name: ["cf-vol"] },
        dangling: { dangling: ["true"], name: ["cf-vol"] },
        "not dangling": { dangling: ["0"], name: ["cf-vol"] },
        driver: { driver: ["local"], name: ["cf-vol"] },
        "bad dangling": { dangling: ["odd"] },
        "bad key": { odd: ["1"] },
        "not JSON": "{",
      };
      for (const [label, value] of Object.entries(filters)) {
        await talk.ask(`filter ${label}`, `GET /volumes?${query(value)}`);
      }
      await talk.ask("inspect nothing", "GET /volumes/cf-nothing");
      await talk.ask("remove in use", "DELETE /volumes/cf-vol");
      await talk.ask("remove in use by force", "DELETE /volumes/cf-vol?force=1");
      await talk.ask("remove badly", "DELETE /volumes/cf-vol?force=x");
      await talk.api("DELETE", "/containers/cf-vc");
      await talk.ask("remove", "DELETE /volumes/cf-vol");
      await talk.ask("remove again", "DELETE /volumes/cf-vol");
      await talk.ask("remove nothing by force", "DELETE /volumes/cf-vol?force=1");
      await talk.ask("prune by odd key", `POST /volumes/prune?${query({ odd: ["1"] })}`);
      const rare = { label: ["cf-prunable"], all: ["true"] };
      await talk.ask("prune nothing", `POST /volumes/prune?${query(rare)}`);
      await talk.ask("prune with odd all", `POST /volumes/prune?${query({ all: ["x"] })}`);
      const prunable = { ...Labels, "cf-prunable": "1" };
      await talk.api("POST", "/volumes/create", { Name: "cf-vp", Labels: prunable });
      await talk.ask("prune", `POST /volumes/prune?${query(rare)}`);
    },
  },
];
