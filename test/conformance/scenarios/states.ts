/** Every action in every state, and what each state looks like. */
import { image, type Scenario, type Talk } from "../talk.ts";
import { versions } from "./system.ts";

const sleep = { Cmd: ["sleep", "300"], StopSignal: "SIGKILL" };

/** How a container gets into each state. */
const states: Readonly<Record<string, (talk: Talk, name: string) => Promise<void>>> = {
  missing: async () => undefined,
  created: async (talk, name) => void (await talk.create(name, sleep)),
  running: async (talk, name) => void (await talk.run(name, sleep)),
  paused: async (talk, name) => {
    await talk.run(name, sleep);
    await talk.api("POST", `/containers/${name}/pause`);
  },
  exited: async (talk, name) => {
    await talk.run(name, { Cmd: ["sh", "-c", "echo out; echo err >&2; exit 3"] });
    await talk.api("POST", `/containers/${name}/wait`);
  },
};

/** Requests on a container; `{c}` is its name. None needs a second answer to come. */
const actions: readonly string[] = [
  "GET /containers/{c}/json",
  "GET /containers/{c}/json?size=true",
  "GET /containers/{c}/top",
  "GET /containers/{c}/logs",
  "GET /containers/{c}/logs?stdout=0&stderr=0",
  "POST /containers/{c}/start",
  "POST /containers/{c}/stop?t=1",
  "POST /containers/{c}/stop?t=x",
  "POST /containers/{c}/stop?signal=ODD",
  "POST /containers/{c}/restart?t=1",
  "POST /containers/{c}/kill",
  "POST /containers/{c}/kill?signal=SIGUSR1",
  "POST /containers/{c}/kill?signal=0",
  "POST /containers/{c}/kill?signal=ODD",
  "POST /containers/{c}/kill?signal=99",
  "POST /containers/{c}/pause",
  "POST /containers/{c}/unpause",
  "POST /containers/{c}/rename?name={c}-2",
  "POST /containers/{c}/rename?name=",
  "POST /containers/{c}/rename",
  "POST /containers/{c}/rename?name={c}",
  "POST /containers/{c}/rename?name=a%20b",
  "POST /containers/{c}/wait?condition=odd",
  "POST /containers/{c}/resize?h=10&w=20",
  "POST /containers/{c}/resize?h=x&w=20",
  "POST /containers/{c}/resize",
  "POST /containers/{c}/attach",
  "DELETE /containers/{c}",
  "DELETE /containers/{c}?force=1",
  "DELETE /containers/{c}?force=x",
  "DELETE /containers/{c}?link=1",
];
/** Requests that only end in some states. */
const ending: Readonly<Record<string, readonly string[]>> = {
  "POST /containers/{c}/wait": ["missing", "created", "exited"],
  "POST /containers/{c}/wait?condition=not-running": ["missing", "created", "exited"],
  "GET /containers/{c}/logs?stdout=1&follow=1": ["missing", "exited"],
};

export const stateScenarios: readonly Scenario[] = Object.entries(states).map(
  ([state, reach]): Scenario => ({
    name: `actions on a container that is ${state}`,
    async run(talk) {
      const more = Object.keys(ending).filter((target) => ending[target]?.includes(state));
      let count = 0;
      for (const target of [...actions, ...more]) {
        count += 1;
        const name = `cf-s-${state}-${count}`;
        await reach(talk, name);
        await talk.ask(target, target.replaceAll("{c}", name));
        if (state === "exited" && /start/.test(target)) await talk.reaches(name, "exited");
        const state2 = (await talk.api("GET", `/containers/${name}/json`)).json;
        talk.note(`${target}: state`, (state2 as { State?: unknown }).State);
        await talk.api("DELETE", `/containers/${name}?force=1`);
        await talk.api("DELETE", `/containers/${name}-2?force=1`);
      }
      const name = `cf-s-${state}`;
      await reach(talk, name);
      for (const version of versions) {
        await talk.ask(`inspect at ${version}`, `GET /containers/${name}/json`, { version });
      }
      await talk.ask("exec", `POST /containers/${name}/exec`, { body: { Cmd: ["true"] } });
      const taken = { Image: image, Labels: { "cf-comparison": "1" } };
      await talk.ask("create of the name", `POST /containers/create?name=${name}`, { body: taken });
    },
  }),
);
