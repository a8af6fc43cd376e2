/** Images: everything that is there without a registry. */
import { at } from "../../support/json.ts";
import { tar } from "../../support/tar.ts";
import { image, type Scenario } from "../talk.ts";
import { shapeOf, versions } from "./system.ts";

const query = (filters: unknown): string =>
  `filters=${encodeURIComponent(typeof filters === "string" ? filters : JSON.stringify(filters))}`;
const labelled = (filters: object): object => ({ ...filters, label: ["cf-comparison"] });

export const imageScenarios: readonly Scenario[] = [
  {
    name: "images",
    async run(talk) {
      for (const version of versions) {
        await talk.ask(`list at ${version}`, `GET /images/json?${query(labelled({}))}`, {
          version,
        });
        await talk.ask(`inspect at ${version}`, `GET /images/${image}/json`, { version });
        await talk.ask(`history at ${version}`, `GET /images/${image}/history`, { version });
      }
      const filters: Readonly<Record<string, unknown>> = {
        reference: { reference: [image] },
        "reference by pattern": { reference: ["cf-busy*"] },
        dangling: labelled({ dangling: ["true"] }),
        "not dangling": labelled({ dangling: ["false"] }),
        "label and value": { label: ["cf-comparison=image"] },
        "other label": { label: ["cf-comparison=odd"] },
        before: labelled({ before: [image] }),
        since: labelled({ since: [image] }),
        "before nothing": { before: ["cf-nothing"] },
        until: labelled({ until: ["1h"] }),
        "bad until": { until: ["odd"] },
        "bad dangling": { dangling: ["odd"] },
        "bad key": { odd: ["1"] },
        "not JSON": "{",
      };
      for (const [label, value] of Object.entries(filters)) {
        await talk.ask(`filter ${label}`, `GET /images/json?${query(value)}`);
      }
      for (const text of ["shared-size=1", "digests=1", "manifests=1", "all=1"]) {
        await talk.ask(`list ${text}`, `GET /images/json?${text}&${query(labelled({}))}`);
      }
      await talk.ask("inspect manifests", `GET /images/${image}/json?manifests=1`);
      await talk.ask(
        "inspect platform",
        `GET /images/${image}/json?platform=${encodeURIComponent('{"os":"linux","architecture":"arm64"}')}`,
      );
      await talk.ask("inspect bad platform", `GET /images/${image}/json?platform=odd`);
      for (const name of [
        "cf-nothing",
        "cf-nothing:x",
        "UPPER",
        "a b",
        "docker.io/library/cf-no",
      ]) {
        const path = encodeURIComponent(name);
        await talk.ask(`inspect ${name}`, `GET /images/${path}/json`);
        await talk.ask(`history ${name}`, `GET /images/${path}/history`);
        await talk.ask(`remove ${name}`, `DELETE /images/${path}`);
        await talk.ask(`tag ${name}`, `POST /images/${path}/tag?repo=cf-x`);
        await talk.ask(`get ${name}`, `GET /images/${path}/get`);
      }
      for (const [label, text] of Object.entries({
        "no repo": "",
        upper: "repo=UPPER",
        "bad tag": "repo=cf-t&tag=a%20b",
        digest: `repo=cf-t@sha256:${"0".repeat(64)}`,
        "tag inside": "repo=cf-t:x&tag=y",
        scratch: "repo=scratch",
        "a registry": "repo=localhost:5000/cf/t&tag=1",
        good: "repo=cf-t&tag=1",
        again: "repo=cf-t&tag=1",
      })) {
        await talk.ask(`tag with ${label}`, `POST /images/${image}/tag?${text}`);
      }
      await talk.ask("list of tags", `GET /images/json?${query({ reference: ["cf-t"] })}`);
      await talk.create("cf-i-user", { Image: "cf-t:1" });
      await talk.ask("remove one of several names", "DELETE /images/localhost:5000/cf/t:1");
      await talk.ask("remove while used", "DELETE /images/cf-t:1");
      const id = String(at((await talk.api("GET", `/images/${image}/json`)).json, "Id"));
      await talk.ask("remove by ID while used", `DELETE /images/${id}`);
      await talk.api("DELETE", "/containers/cf-i-user?force=1");
      await talk.api("POST", `/images/${image}/tag?repo=cf-t&tag=2`);
      await talk.ask("remove with odd force", "DELETE /images/cf-t:2?force=x");
      await talk.api("DELETE", "/images/cf-t:y");
      await talk.ask("no names to save", "GET /images/get");
      await talk.ask("unknown names to save", "GET /images/get?names=cf-nothing");
      await talk.ask("prune by odd key", `POST /images/prune?${query({ odd: ["1"] })}`);
      await talk.ask("prune nothing", `POST /images/prune?${query({ label: ["cf-never"] })}`);
    },
  },
  {
    name: "import, load and what is wrong with it",
    async run(talk) {
      const archive = tar([{ name: "file", content: "x" }]);
      const type = { "Content-Type": "application/x-tar" };
      const imports: Readonly<Record<string, string>> = {
        plain: "repo=cf-i1",
        tag: "repo=cf-i2&tag=2",
        message: "repo=cf-i3&message=hello",
        changes: `repo=cf-i4&${[
          "CMD echo x",
          'ENTRYPOINT ["/e"]',
          "ENV A=1 B=2",
          "LABEL x=y",
          "EXPOSE 80 81/udp",
          "USER u",
          "WORKDIR /w",
          "VOLUME /v",
          "STOPSIGNAL SIGINT",
          "ONBUILD RUN x",
        ]
          .map((line) => `changes=${encodeURIComponent(line)}`)
          .join("&")}`,
        platform: "repo=cf-i5&platform=linux/arm64",
        "bad change": "repo=cf-i6&changes=RUN%20x",
        "odd change": "repo=cf-i6&changes=odd",
        "bad repo": "repo=UPPER",
        "bad tag": "repo=cf-i7&tag=a%20b",
        "bad platform": "repo=cf-i8&platform=odd/x/y/z",
      };
      for (const [label, text] of Object.entries(imports)) {
        await talk.ask(`import ${label}`, `POST /images/create?fromSrc=-&${text}`, {
          body: archive,
          headers: type,
          read: "lines",
        });
        const name = /repo=([^&]*)(?:&tag=(\w+))?/.exec(text);
        const reference = `${name?.[1]}:${name?.[2] ?? "latest"}`;
        const inspected = await talk.api("GET", `/images/${reference}/json`);
        talk.note(`import ${label}: image`, inspected.json);
        const history = await talk.api("GET", `/images/${reference}/history`);
        talk.note(`import ${label}: history`, history.json);
        await talk.api("DELETE", `/images/${reference}?force=1`);
      }
      const bodies = { nothing: "", garbage: "x".repeat(2000), "empty archive": tar([]) };
      for (const [label, body] of Object.entries(bodies)) {
        await talk.ask(`import ${label}`, "POST /images/create?fromSrc=-&repo=cf-i9", {
          body,
          headers: type,
          read: "lines",
        });
        await talk.api("DELETE", "/images/cf-i9?force=1");
        await talk.ask(`load ${label}`, "POST /images/load", {
          body,
          headers: type,
          read: "lines",
        });
        await talk.ask(`load ${label} quietly`, "POST /images/load?quiet=1", {
          body,
          headers: type,
          read: "lines",
        });
      }
      await talk.ask("create from nowhere", "POST /images/create");
      await talk.ask("load what is no archive of images", "POST /images/load?quiet=1", {
        body: archive,
        headers: type,
        read: "lines",
      });
    },
  },
  {
    name: "save and load",
    async run(talk) {
      await talk.api("POST", `/images/${image}/tag?repo=cf-save&tag=1`);
      const saved = await talk.engine.api("GET", "/images/cf-save:1/get");
      talk.note("save", { status: saved.status, type: saved.headers.get("content-type") });
      await talk.api("DELETE", "/images/cf-save:1");
      for (const quiet of ["", "?quiet=1", "?quiet=0"]) {
        const loaded = await talk.ask(`load ${quiet}`, `POST /images/load${quiet}`, {
          body: saved.bytes,
          headers: { "Content-Type": "application/x-tar" },
          read: "status",
        });
        talk.note(`what load ${quiet} says last`, loaded.text.trim().split("\r\n").at(-1));
      }
      await talk.ask("inspect what was loaded", "GET /images/cf-save:1/json");
      talk.note("shape", shapeOf((await talk.api("GET", "/images/cf-save:1/history")).json));
      await talk.api("DELETE", "/images/cf-save:1");
    },
  },
];
