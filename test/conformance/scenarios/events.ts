/** Events: the exact sequence, with all attributes. */
import { at, parseLines } from "../../support/json.ts";
import { image, type Scenario, type Talk } from "../talk.ts";
import { converse } from "../conversation.ts";

const nowS = (): string => (Date.now() / 1000).toFixed(9);
const query = (filters: unknown): string => encodeURIComponent(JSON.stringify(filters));

/** What happened meanwhile and matches; waits a moment for what comes late. */
async function happens(
  talk: Talk,
  label: string,
  options: { readonly filters: unknown; readonly run: () => Promise<unknown>; version?: string },
): Promise<void> {
  const since = nowS();
  await options.run();
  await Bun.sleep(500);
  const answer = await talk.engine.api(
    "GET",
    `/v${options.version ?? "1.51"}/events?since=${since}&until=${nowS()}&filters=${query(options.filters)}`,
  );
  const events = inOrder(parseLines(answer.text));
  // Containers and networks tell at the same time: each kind in its own order.
  for (const type of ["container", "image", "network", "volume"]) {
    talk.note(
      `${label}: ${type}`,
      events.filter((event) => at(event, "Type") === type),
    );
  }
  const others = events.filter((event) => at(event, "Type") === undefined);
  if (others.length > 0) talk.note(`${label}: others`, others);
}

/** Docker tells `stop` and `die` of a killed container in the order in which two threads come by. */
function inOrder(events: readonly unknown[]): readonly unknown[] {
  const ordered = [...events];
  for (let index = 1; index < ordered.length; index += 1) {
    const [before, after] = [ordered[index - 1], ordered[index]];
    if (at(before, "Action") !== "stop" || at(after, "Action") !== "die") continue;
    [ordered[index - 1], ordered[index]] = [after, before];
  }
  return ordered;
}

export const eventScenarios: readonly Scenario[] = [
  {
    name: "events of a container",
    async run(talk) {
      const body = {
        Cmd: ["sh", "-c", "exit 7"],
        Labels: { "cf-e": "1" },
        HostConfig: { Binds: ["cf-ev:/data"], AutoRemove: true },
      };
      await talk.api("POST", "/volumes/create", {
        Name: "cf-ev",
        Labels: { "cf-comparison": "1" },
      });
      const container = ["cf-e1", "cf-e2", "cf-e3", "cf-e4"];
      await happens(talk, "run --rm", {
        filters: { container: ["cf-e1"], type: ["container"] },
        run: async () => {
          await talk.create("cf-e1", body);
          await converse(talk, "attached", {
            target: "POST /containers/cf-e1/attach?stream=1&stdout=1&stderr=1",
            upgrade: true,
            meanwhile: async () => await talk.api("POST", "/containers/cf-e1/start"),
          });
        },
      });
      for (const version of ["1.24", "1.43", "1.51"]) {
        await happens(talk, `life at ${version}`, {
          version,
          filters: { type: ["container"], container },
          run: async () => {
            await talk.run("cf-e2", { Cmd: ["sleep", "300"], StopSignal: "SIGTERM" });
            await talk.api("POST", "/containers/cf-e2/pause");
            await talk.api("POST", "/containers/cf-e2/unpause");
            await talk.api("POST", "/containers/cf-e2/resize?h=1&w=1");
            await talk.api("GET", "/containers/cf-e2/top");
            await talk.api("POST", "/containers/cf-e2/kill?signal=USR1");
            await talk.api("POST", "/containers/cf-e2/restart?t=0");
            await talk.api("POST", "/containers/cf-e2/rename?name=cf-e3");
            await talk.api("POST", "/containers/cf-e3/stop?t=0");
            await talk.api("DELETE", "/containers/cf-e3");
          },
        });
      }
      await happens(talk, "exec", {
        filters: { type: ["container"], container: ["cf-e4"] },
        run: async () => {
          await talk.run("cf-e4", { Cmd: ["sleep", "300"], StopSignal: "SIGKILL" });
          for (const Cmd of [["sh", "-c", "exit 3"], ["cf-nothing"]]) {
            const made = await talk.api("POST", "/containers/cf-e4/exec", {
              Cmd,
              AttachStdout: true,
            });
            const exec = String(at(made.json, "Id"));
            await talk.api("POST", `/exec/${exec}/start`, {});
            // As clients do, who want to know how it ended.
            await talk.api("GET", `/exec/${exec}/json`);
          }
          await talk.api("POST", "/containers/cf-e4/kill");
        },
      });
      await happens(talk, "a start that fails", {
        filters: { type: ["container"], container: ["cf-e5"] },
        run: async () => await talk.run("cf-e5", { Cmd: ["cf-nothing"] }),
      });
      await happens(talk, "networks", {
        filters: { type: ["network"], network: ["bridge"] },
        run: async () => {
          await talk.run("cf-e6", { Cmd: ["true"] });
          await talk.reaches("cf-e6", "exited");
        },
      });
      await happens(talk, "volumes", {
        filters: { type: ["volume"], volume: ["cf-ev", "cf-ev2"] },
        run: async () => {
          await talk.api("POST", "/volumes/create", {
            Name: "cf-ev2",
            Labels: { "cf-comparison": "1" },
          });
          await talk.run("cf-e7", { Cmd: ["true"], HostConfig: { Binds: ["cf-ev2:/x:ro"] } });
          await talk.reaches("cf-e7", "exited");
          await talk.api("DELETE", "/containers/cf-e7");
          await talk.api("DELETE", "/volumes/cf-ev2");
        },
      });
    },
  },
  {
    name: "events of images",
    async run(talk) {
      await happens(talk, "tag and remove", {
        filters: { type: ["image"], label: ["cf-comparison"] },
        run: async () => {
          await talk.api("POST", `/images/${image}/tag?repo=cf-tagged&tag=1`);
          await talk.api("GET", "/images/cf-tagged:1/get");
          await talk.api("DELETE", "/images/cf-tagged:1");
        },
      });
    },
  },
  {
    name: "events asked oddly",
    async run(talk) {
      const past = "since=1&until=2";
      for (const text of [
        past,
        "since=x",
        "until=x",
        "since=2&until=1",
        `${past}&filters={`,
        `${past}&filters=${query({ odd: ["1"] })}`,
        `${past}&filters=${query({ type: ["odd"] })}`,
        `${past}&filters=${query({ event: ["start"] })}`,
      ]) {
        await talk.ask(text, `GET /events?${text}`, { read: "text" });
      }
    },
  },
];
