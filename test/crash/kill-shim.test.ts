/** kill -9 of one shim: that container is dead with a reason, the others live. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { startDaemon } from "../support/daemon.ts";
import { referenceHost } from "../support/engine.ts";
import { at, numberAt, textAt } from "../support/json.ts";
import { until } from "../support/process.ts";

/** The parent of a process. */
function parentOf(pid: number): number {
  return Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

describe.skipIf(referenceHost !== undefined)("kill -9 of a shim", () => {
  for (const isDaemonAway of [false, true]) {
    const when = isDaemonAway ? "while there is no daemon" : "under a daemon";
    test(`${when}: its container is reported dead, the others live`, async () => {
      await using daemon = await startDaemon();
      const { engine } = daemon;
      await engine.ensureImages("busybox");
      const config = { Image: "busybox", Cmd: ["sleep", "600"] };
      const [victim, other] = [await engine.runDetached(config), await engine.runDetached(config)];
      const shim = parentOf(numberAt(await engine.inspect(victim), "State", "Pid"));
      const otherPid = numberAt(await engine.inspect(other), "State", "Pid");
      if (isDaemonAway) await daemon.kill9();
      process.kill(shim, "SIGKILL");
      if (isDaemonAway) await daemon.restart();
      await until(
        async () => at(await engine.inspect(victim), "State", "Running") === false,
        "the container to be reported dead",
      );
      const state = at(await engine.inspect(victim), "State");
      expect(numberAt(state, "ExitCode")).not.toBe(0);
      expect(textAt(state, "Error")).not.toBe("");
      expect(at(await engine.inspect(other), "State")).toMatchObject({
        Running: true,
        Pid: otherPid,
      });
      expect((await engine.api("POST", `/containers/${victim}/start`)).status).toBe(204);
      await engine.removeContainers();
      expect(await daemon.leaks()).toEqual([]);
    }, 30_000);
  }
});
