/** Exec from create to inspect, with its refusals. */
import { textAt } from "../../support/json.ts";
import { converse } from "../conversation.ts";
import type { Scenario, Talk } from "../talk.ts";

async function makeExec(talk: Talk, container: string, body: object): Promise<string> {
  const made = await talk.api("POST", `/containers/${container}/exec`, body);
  return made.status === 201 ? textAt(made.json, "Id") : "none";
}

const both = { AttachStdout: true, AttachStderr: true };

export const execScenarios: readonly Scenario[] = [
  {
    name: "exec cycle",
    async run(talk) {
      await talk.run("cf-x", { Cmd: ["sleep", "300"], StopSignal: "SIGKILL", Env: ["OUTER=1"] });
      const bodies: Readonly<Record<string, object>> = {
        plain: { ...both, Cmd: ["sh", "-c", "echo out; echo err >&2; exit 4"] },
        stdin: { ...both, AttachStdin: true, Cmd: ["cat"] },
        environment: { ...both, Cmd: ["sh", "-c", "echo $OUTER $A $HOME"], Env: ["A=2"] },
        user: {
          ...both,
          Cmd: ["sh", "-c", "id -u; id -g; pwd"],
          User: "1000:5",
          WorkingDir: "/tmp",
        },
        terminal: { ...both, Tty: true, Cmd: ["sh", "-c", "test -t 1 && echo tty; echo err >&2"] },
        // crun sets the size beside the program that it starts, not before it.
        "console size": {
          ...both,
          Tty: true,
          ConsoleSize: [20, 30],
          Cmd: ["sh", "-c", "usleep 100000; stty size"],
        },
        privileged: { ...both, Privileged: true, Cmd: ["grep", "CapEff", "/proc/self/status"] },
        "nothing attached": { Cmd: ["true"] },
        "not there": { ...both, Cmd: ["cf-nothing"] },
        "a folder": { ...both, Cmd: ["/etc"] },
        "not executable": { ...both, Cmd: ["/etc/passwd"] },
        "unknown user": { ...both, Cmd: ["true"], User: "nobody-here" },
        "unknown folder": { ...both, Cmd: ["pwd"], WorkingDir: "/cf-nothing" },
        "killed by itself": { ...both, Cmd: ["sh", "-c", "kill -9 $$"] },
      };
      for (const [label, body] of Object.entries(bodies)) {
        for (const upgrade of [true, false]) {
          const id = await makeExec(talk, "cf-x", body);
          if (upgrade) await talk.ask(`${label}: inspect created`, `GET /exec/${id}/json`);
          const isTty = "Tty" in body;
          await converse(talk, `${label}: start ${upgrade ? "upgraded" : "raw"}`, {
            target: `POST /exec/${id}/start`,
            body: { Detach: false, Tty: isTty },
            upgrade,
            input: "AttachStdin" in body ? "fed\n" : "",
            half: "AttachStdin" in body,
            read: isTty ? "text" : "frames",
          });
          await Bun.sleep(150);
          await talk.ask(`${label}: inspect ended ${upgrade}`, `GET /exec/${id}/json`);
        }
      }
      for (const version of ["1.24", "1.41", "1.42", "1.51"]) {
        const id = await makeExec(talk, "cf-x", { ...both, Cmd: ["echo", "x"] });
        const target = `POST /exec/${id}/start`;
        await converse(talk, `at ${version}`, { target, version, body: {}, read: "frames" });
      }
    },
  },
  {
    name: "exec detached and refused",
    async run(talk) {
      await talk.run("cf-xd", { Cmd: ["sleep", "300"], StopSignal: "SIGKILL" });
      const id = await makeExec(talk, "cf-xd", { Cmd: ["sleep", "300"], Tty: true });
      await talk.ask("resize before start", `POST /exec/${id}/resize?h=10&w=10`);
      await talk.ask("start detached", `POST /exec/${id}/start`, { body: { Detach: true } });
      await Bun.sleep(100);
      await talk.ask("inspect running", `GET /exec/${id}/json`);
      await talk.ask("start again", `POST /exec/${id}/start`, { body: { Detach: true } });
      await talk.ask("resize", `POST /exec/${id}/resize?h=10&w=10`);
      await talk.ask("resize badly", `POST /exec/${id}/resize?h=x&w=10`);
      await talk.ask("IDs in inspect", "GET /containers/cf-xd/json");
      const missing = await makeExec(talk, "cf-xd", { Cmd: ["cf-nothing"] });
      await talk.ask("detached and not there", `POST /exec/${missing}/start`, {
        body: { Detach: true },
      });
      await talk.ask("inspect it", `GET /exec/${missing}/json`);
      for (const [label, body] of Object.entries({
        "no command": {},
        "empty command": { Cmd: [] },
        "null command": { Cmd: null },
        "command as text": { Cmd: "true" },
        "bad type": { Cmd: ["true"], Tty: "yes" },
        "bad environment": { Cmd: ["true"], Env: ["=x"] },
        "bad keys": { Cmd: ["true"], DetachKeys: "odd" },
        "console size": { Cmd: ["true"], ConsoleSize: [1] },
      })) {
        await talk.ask(label, "POST /containers/cf-xd/exec", { body });
      }
      await talk.ask("no body", "POST /containers/cf-xd/exec");
      await talk.ask("malformed", "POST /containers/cf-xd/exec", { body: "{" });
      await talk.ask("missing container", "POST /containers/cf-no/exec", {
        body: { Cmd: ["true"] },
      });
      const start = { body: { Detach: true } };
      await talk.ask("start nothing", "POST /exec/cf-nothing/start", start);
      await talk.ask("inspect nothing", "GET /exec/cf-nothing/json");
      await talk.ask("resize nothing", "POST /exec/cf-nothing/resize?h=1&w=1");
      const other = await makeExec(talk, "cf-xd", { Cmd: ["true"] });
      await talk.ask("start without body", `POST /exec/${other}/start`);
      await talk.ask("start malformed", `POST /exec/${other}/start`, { body: "{" });
      await talk.ask("start with a terminal it lacks", `POST /exec/${other}/start`, {
        body: { Detach: true, Tty: true },
      });
      const late = await makeExec(talk, "cf-xd", { Cmd: ["true"] });
      await talk.api("POST", "/containers/cf-xd/pause");
      await talk.ask("start while paused", `POST /exec/${late}/start`, start);
      await talk.ask("create while paused", "POST /containers/cf-xd/exec", {
        body: { Cmd: ["true"] },
      });
      await talk.api("POST", "/containers/cf-xd/unpause");
      await talk.api("POST", "/containers/cf-xd/kill");
      await talk.reaches("cf-xd", "exited");
      await talk.ask("start after the end", `POST /exec/${late}/start`, start);
      await talk.ask("inspect after the end", `GET /exec/${late}/json`);
      await talk.ask("create after the end", "POST /containers/cf-xd/exec", {
        body: { Cmd: ["true"] },
      });
    },
  },
];
