/** Attach in all its forms, and resize. */
import { converse, webSocketFrame } from "../conversation.ts";
import type { Scenario, Talk } from "../talk.ts";

const reader = {
  Cmd: ["sh", "-c", "echo ready; echo err >&2; while read line; do echo got $line; done; echo bye"],
  OpenStdin: true,
  StdinOnce: true,
  AttachStdin: true,
};
const start = (talk: Talk, name: string) => async (): Promise<unknown> =>
  await talk.api("POST", `/containers/${name}/start`);

export const attachScenarios: readonly Scenario[] = [
  {
    name: "attach before start",
    async run(talk) {
      let count = 0;
      for (const version of ["1.24", "1.41", "1.42", "1.51"]) {
        for (const upgrade of [false, true]) {
          count += 1;
          const name = `cf-a-${count}`;
          await talk.create(name, reader);
          await converse(talk, `${version} ${upgrade ? "upgrade" : "raw"}`, {
            target: `POST /containers/${name}/attach?stream=1&stdin=1&stdout=1&stderr=1`,
            version,
            upgrade,
            input: "one\ntwo\n",
            half: true,
            meanwhile: start(talk, name),
            read: "frames",
          });
        }
      }
      const picks = ["stdout=1", "stderr=1", "stdin=1", "stdout=1&stderr=1", ""];
      for (const pick of picks) {
        count += 1;
        const name = `cf-a-${count}`;
        await talk.create(name, { Cmd: ["sh", "-c", "echo out; echo err >&2"] });
        await converse(talk, `stream of ${pick}`, {
          target: `POST /containers/${name}/attach?stream=1&${pick}`,
          upgrade: true,
          meanwhile: start(talk, name),
          read: "frames",
        });
      }
    },
  },
  {
    name: "attach to a terminal",
    async run(talk) {
      await talk.create("cf-at", { ...reader, Tty: true });
      await converse(talk, "terminal", {
        target: "POST /containers/cf-at/attach?stream=1&stdin=1&stdout=1&stderr=1",
        upgrade: true,
        meanwhile: async () => {
          await start(talk, "cf-at")();
          await talk.ask("resize", "POST /containers/cf-at/resize?h=33&w=77");
          await Bun.sleep(300);
          await talk.api("POST", "/containers/cf-at/kill");
        },
      });
      await talk.create("cf-at2", {
        ...reader,
        Tty: true,
        Cmd: ["sh", "-c", "usleep 600000; stty size; read x; echo $x"],
      });
      await converse(talk, "input of a terminal", {
        target: "POST /containers/cf-at2/attach?stream=1&stdin=1&stdout=1",
        upgrade: true,
        meanwhile: async () => {
          await start(talk, "cf-at2")();
          await talk.api("POST", "/containers/cf-at2/resize?h=33&w=77");
        },
        input: "typed\n",
      });
      await talk.create("cf-at4", {
        Tty: true,
        Cmd: ["stty", "size"],
        HostConfig: { ConsoleSize: [20, 30] },
      });
      await converse(talk, "size from the start", {
        target: "POST /containers/cf-at4/attach?stream=1&stdout=1",
        upgrade: true,
        meanwhile: start(talk, "cf-at4"),
      });
      await talk.run("cf-at3", { ...reader, Tty: true });
      await Bun.sleep(200);
      await converse(talk, "detach keys", {
        target: "POST /containers/cf-at3/attach?stream=1&stdin=1&stdout=1&detachKeys=ctrl-a",
        upgrade: true,
        input: "\x01",
      });
      talk.note("after it", (await talk.api("GET", "/containers/cf-at3/json")).status);
      await talk.ask("bad keys", "POST /containers/cf-at3/attach?stream=1&detachKeys=nonsense");
    },
  },
  {
    name: "attach to what runs, ran, or is not",
    async run(talk) {
      await talk.run("cf-ar", {
        Cmd: ["sh", "-c", "echo one; echo two >&2; exec sleep 300"],
        StopSignal: "SIGKILL",
      });
      await Bun.sleep(400);
      const kill = async (): Promise<unknown> => {
        await Bun.sleep(200);
        return await talk.api("POST", "/containers/cf-ar/kill");
      };
      const all = "stdout=1&stderr=1";
      const logs = `POST /containers/cf-ar/attach?logs=1&${all}`;
      await converse(talk, "logs alone", { target: logs, upgrade: true, read: "frames" });
      await converse(talk, "logs and stream", {
        target: `POST /containers/cf-ar/attach?logs=1&stream=1&${all}`,
        upgrade: true,
        meanwhile: kill,
        read: "frames",
      });
      await talk.reaches("cf-ar", "exited");
      const again = `POST /containers/cf-ar/attach?logs=1&stream=1&${all}`;
      await converse(talk, "logs after the end", { target: logs, upgrade: true, read: "frames" });
      await converse(talk, "missing", { target: again.replace("cf-ar", "cf-no"), upgrade: true });
      await converse(talk, "missing, raw", { target: again.replace("cf-ar", "cf-no") });
      await talk.run("cf-ap", { Cmd: ["sleep", "300"], StopSignal: "SIGKILL" });
      await talk.api("POST", "/containers/cf-ap/pause");
      await converse(talk, "paused", { target: again.replace("cf-ar", "cf-ap"), upgrade: true });
      await converse(talk, "paused, raw", { target: again.replace("cf-ar", "cf-ap") });
    },
  },
  {
    name: "attach by websocket",
    async run(talk) {
      for (const version of ["1.24", "1.27", "1.28", "1.51"]) {
        const name = `cf-ws-${version}`;
        await talk.create(name, {
          ...reader,
          Cmd: [
            "sh",
            "-c",
            "echo ready; read line; usleep 200000; echo got $line; usleep 200000; echo bye >&2",
          ],
        });
        await converse(talk, version, {
          target: `GET /containers/${name}/attach/ws?stream=1&stdin=1&stdout=1&stderr=1`,
          version,
          read: "websocket",
          meanwhile: start(talk, name),
          input: webSocketFrame("one\n"),
        });
      }
      await converse(talk, "missing", {
        target: "GET /containers/cf-no/attach/ws?stream=1",
        read: "websocket",
      });
      await talk.ask("without handshake", "GET /containers/cf-ws-1.51/attach/ws?stream=1");
    },
  },
];
