/** Lists with each filter, processes, logs, waits, names and prefixes. */
import { image, type Scenario } from "../talk.ts";
import { versions } from "./system.ts";

const query = (filters: unknown): string =>
  `filters=${encodeURIComponent(typeof filters === "string" ? filters : JSON.stringify(filters))}`;

export const containerScenarios: readonly Scenario[] = [
  {
    name: "list with each filter",
    async run(talk) {
      const mark = { "cf-list": "1" };
      await talk.create("cf-l-created", { Labels: mark, Cmd: ["echo", "a long\tcommand", "'q'"] });
      await talk.run("cf-l-running", {
        Labels: { ...mark, team: "blue" },
        Cmd: ["sleep", "300"],
        StopSignal: "SIGKILL",
        ExposedPorts: { "80/tcp": {}, "90/udp": {} },
        HostConfig: {
          PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "38081" }] },
          Binds: ["/tmp:/cf-tmp:ro"],
        },
      });
      await talk.run("cf-l-exited", { Labels: mark, Cmd: ["sh", "-c", "exit 3"] });
      await talk.api("POST", "/containers/cf-l-exited/wait");
      await talk.run("cf-l-host", {
        Labels: mark,
        Cmd: ["sleep", "300"],
        StopSignal: "SIGKILL",
        HostConfig: { NetworkMode: "host" },
      });
      await talk.api("POST", "/containers/cf-l-host/pause");
      for (const version of versions) {
        await talk.ask(
          `all at ${version}`,
          `GET /containers/json?all=1&${query({ label: ["cf-list"] })}`,
          {
            version,
          },
        );
      }
      const filters: Readonly<Record<string, unknown>> = {
        "running only": { label: ["cf-list"] },
        "label and value": { label: ["cf-list", "team=blue"] },
        "label not": { label: ["cf-list", "team=red"] },
        name: { name: ["cf-l-ex"], label: ["cf-list"] },
        "name with slash": { name: ["/cf-l-exited"] },
        "name by pattern": { name: ["^/cf-l-(created|exited)$"] },
        "bad pattern": { name: ["("] },
        status: { status: ["created", "paused"], label: ["cf-list"] },
        "bad status": { status: ["odd"] },
        exited: { exited: ["3"], label: ["cf-list"] },
        "bad exited": { exited: ["x"] },
        ancestor: { ancestor: [image], label: ["cf-list"] },
        "unknown ancestor": { ancestor: ["cf-nothing"] },
        before: { before: ["cf-l-exited"], label: ["cf-list"] },
        since: { since: ["cf-l-running"], label: ["cf-list"] },
        "before nothing": { before: ["cf-nothing"] },
        volume: { volume: ["/cf-tmp"] },
        network: { network: ["host"], label: ["cf-list"] },
        "unknown network": { network: ["cf-nothing"] },
        publish: { publish: ["80"], label: ["cf-list"] },
        "publish of the host": { publish: ["38081"], label: ["cf-list"] },
        expose: { expose: ["90/udp"], label: ["cf-list"] },
        "expose range": { expose: ["80-95"], label: ["cf-list"] },
        "bad publish": { publish: ["x"] },
        health: { health: ["none"], label: ["cf-list"] },
        "bad health": { health: ["odd"] },
        "is-task": { "is-task": ["false"], label: ["cf-list"] },
        "bad is-task": { "is-task": ["odd"] },
        isolation: { isolation: ["default"], label: ["cf-list"] },
        "unknown key": { odd: ["1"] },
        "as map": { name: { "cf-l-exited": true } },
        "not JSON": "{",
        "of a list": "[1]",
      };
      for (const [label, value] of Object.entries(filters)) {
        const all = label === "running only" ? "" : "all=1&";
        await talk.ask(label, `GET /containers/json?${all}${query(value)}`);
      }
      await talk.ask("limit", `GET /containers/json?limit=x`);
      await talk.ask("size", `GET /containers/json?size=1&${query({ name: ["cf-l-running"] })}`);
      await talk.ask("top", "GET /containers/cf-l-running/top?ps_args=-o%20comm,args");
      await talk.ask("bad top", "GET /containers/cf-l-running/top?ps_args=-o%20nothing");
      await talk.ask("top without PID", "GET /containers/cf-l-running/top?ps_args=-o%20comm");
      const top = (await talk.api("GET", "/containers/cf-l-running/top")).json;
      talk.note("titles of top", (top as { Titles?: unknown }).Titles);
    },
  },
  {
    name: "logs with each query",
    async run(talk) {
      const script =
        "for i in 1 2 3 4 5; do echo out$i; usleep 30000; echo err$i >&2; usleep 30000; done; printf end";
      await talk.run("cf-logs", { Cmd: ["sh", "-c", script] });
      await talk.api("POST", "/containers/cf-logs/wait");
      await talk.run("cf-logs-tty", { Cmd: ["sh", "-c", "echo one; echo two"], Tty: true });
      await talk.api("POST", "/containers/cf-logs-tty/wait");
      await talk.run("cf-logs-none", {
        Cmd: ["echo", "x"],
        HostConfig: { LogConfig: { Type: "none" } },
      });
      await talk.api("POST", "/containers/cf-logs-none/wait");
      for (const version of versions) {
        await talk.ask(`at ${version}`, "GET /containers/cf-logs/logs?stdout=1&stderr=1", {
          version,
          read: "frames",
        });
      }
      const queries = [
        "stdout=1",
        "stderr=1",
        "stdout=1&stderr=1&tail=2",
        "stdout=1&tail=0",
        "stdout=1&tail=all",
        "stdout=1&tail=-1",
        "stdout=1&tail=x",
        "stdout=1&timestamps=1",
        "stdout=1&details=1",
        "stdout=1&timestamps=1&details=1&tail=1",
        "stdout=1&since=1",
        "stdout=1&since=4102444800",
        "stdout=1&until=1",
        "stdout=1&until=4102444800.5",
        "stdout=1&since=x",
        "stdout=1&until=x",
        "stdout=1&since=1h",
        "stdout=1&since=2020-01-01T00:00:00Z",
        "stdout=1&since=-5",
        "stdout=1&until=-5",
        "stdout=1&follow=1",
        "stdout=1&follow=1&tail=1",
        "stdout=yes",
        "stdout=true&stderr=false",
        "",
      ];
      for (const text of queries) {
        await talk.ask(text, `GET /containers/cf-logs/logs?${text}`, { read: "frames" });
      }
      await talk.ask("tty", "GET /containers/cf-logs-tty/logs?stdout=1&stderr=1", { read: "text" });
      await talk.ask("no driver", "GET /containers/cf-logs-none/logs?stdout=1", { read: "json" });
      await talk.ask("missing", "GET /containers/cf-nothing/logs?stdout=1");
    },
  },
  {
    name: "wait, names and prefixes",
    async run(talk) {
      const id = await talk.run("cf-w", { Cmd: ["sleep", "300"], StopSignal: "SIGKILL" });
      const waits = ["", "?condition=next-exit", "?condition=not-running", "?condition=removed"];
      const asked = waits.map(
        async (text) => await talk.api("POST", `/containers/cf-w/wait${text}`),
      );
      await Bun.sleep(300);
      await talk.ask("kill", "POST /containers/cf-w/kill?signal=TERM");
      await talk.ask("kill for good", "POST /containers/cf-w/kill?signal=9");
      await talk.reaches("cf-w", "exited");
      await talk.ask("by ID", `GET /containers/${id}/json`);
      await talk.ask("by prefix", `GET /containers/${id.slice(0, 10)}/json`, { read: "status" });
      await talk.ask("by name with slash", "GET /containers/%2Fcf-w/json", { read: "status" });
      await talk.create("cf-w2");
      await talk.ask("rename to a taken name", "POST /containers/cf-w/rename?name=cf-w2");
      await talk.ask("rename", "POST /containers/cf-w/rename?name=cf-w3");
      await talk.ask("rename with slash", "POST /containers/cf-w3/rename?name=/cf-w4");
      await talk.ask("old name", "GET /containers/cf-w/json");
      await talk.ask("remove", "DELETE /containers/cf-w4");
      talk.note(
        "waits",
        (await Promise.all(asked)).map(({ status, json }) => ({ status, json })),
      );
      await talk.ask("wait of nothing", "POST /containers/cf-w/wait");
      await talk.run("cf-w5", { Cmd: ["cf-nothing"] });
      const target = "POST /containers/cf-w5/start";
      await talk.ask("command that is not there", target);
      await talk.ask("its state", "GET /containers/cf-w5/json");
      await talk.run("cf-w6", { Cmd: ["/etc"] });
      await talk.ask("command that is a folder", "POST /containers/cf-w6/start");
      await talk.create("cf-w7", { User: "nobody-here" });
      await talk.ask("user who is not there", "POST /containers/cf-w7/start");
      await talk.ask("working folder that is a file", "POST /containers/create?name=cf-w8", {
        body: { Image: image, WorkingDir: "/etc/passwd", Labels: { "cf-comparison": "1" } },
      });
      await talk.create("cf-w9");
      await talk.ask("start with a body", "POST /containers/cf-w9/start", {
        body: { Binds: ["/x:/y"] },
      });
      await talk.ask("start with odd keys", "POST /containers/cf-w9/start?detachKeys=odd");
      await talk.ask(
        "prune what is not there",
        `POST /containers/prune?${query({ label: ["cf-no"] })}`,
      );
      await talk.create("cf-prune", { Labels: { "cf-prune": "1" } });
      await talk.ask("prune", `POST /containers/prune?${query({ label: ["cf-prune"] })}`);
      await talk.ask("prune by odd key", `POST /containers/prune?${query({ odd: ["1"] })}`);
      await talk.ask("prune until odd", `POST /containers/prune?${query({ until: ["odd"] })}`);
    },
  },
];
