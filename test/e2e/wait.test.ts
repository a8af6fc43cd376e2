/** `wait`: until a container has ended, ends next, or is gone. */
import { describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { uniqueName } from "../support/engine.ts";
import { at, numberAt } from "../support/json.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`wait with ${name}`, () => {
    test("prints the exit codes in order", async () => {
      const ids = await Promise.all(
        ["exit 3", "sleep 0.2; exit 0"].map(
          async (script) => await cli.ok("run", "-d", "busybox", "sh", "-c", script),
        ),
      );
      expect(await cli.ok("wait", ...ids)).toBe("3\n0");
    });

    test("of an unknown one fails", async () => {
      expect(await cli.fails("wait", "no-such")).toContain("No such container: no-such");
    });
  });
}

describe("wait by API", () => {
  test("not-running answers at once for one that has ended or never ran", async () => {
    const container = uniqueName();
    await engine.api("POST", `/containers/create?name=${container}`, { Image: "busybox" });
    const never = await engine.api("POST", `/containers/${container}/wait`);
    expect(never.json).toMatchObject({ StatusCode: 0 });
    const ended = await engine.runDetached({ Image: "busybox", Cmd: ["sh", "-c", "exit 6"] });
    const first = await engine.api("POST", `/containers/${ended}/wait`);
    const second = await engine.api("POST", `/containers/${ended}/wait?condition=not-running`);
    expect(numberAt(first.json, "StatusCode")).toBe(6);
    expect(numberAt(second.json, "StatusCode")).toBe(6);
  });

  test("next-exit waits for an exit that is still to come", async () => {
    const container = uniqueName();
    await engine.runDetached({ Image: "busybox", Cmd: ["sh", "-c", "exit 5"] }, container);
    await engine.api("POST", `/containers/${container}/wait`);
    let isAnswered = false;
    const waiting = engine
      .api("POST", `/containers/${container}/wait?condition=next-exit`)
      .then((answer) => {
        isAnswered = true;
        return answer;
      });
    await Bun.sleep(300);
    expect(isAnswered).toBe(false);
    await engine.api("POST", `/containers/${container}/start`);
    expect((await waiting).json).toMatchObject({ StatusCode: 5 });
  });

  test("removed waits for the removal", async () => {
    const id = await engine.runDetached({ Image: "busybox", Cmd: ["sh", "-c", "exit 4"] });
    const waiting = engine.api("POST", `/containers/${id}/wait?condition=removed`);
    await Bun.sleep(200);
    await engine.api("DELETE", `/containers/${id}`);
    expect((await waiting).json).toMatchObject({ StatusCode: 4 });
  });

  test("the answer's head comes before the container ends", async () => {
    const id = await engine.runDetached({ Image: "busybox", Cmd: ["sleep", "60"] });
    const response = await engine.open("POST", `/containers/${id}/wait`);
    expect(response.status).toBe(200);
    await engine.api("POST", `/containers/${id}/kill`);
    expect(at(await response.json(), "StatusCode")).toBe(137);
  });

  test("another condition is refused", async () => {
    const id = await engine.runDetached({ Image: "busybox", Cmd: ["true"] });
    const answer = await engine.api("POST", `/containers/${id}/wait?condition=nosuch`);
    expect(answer.status).toBe(400);
    expect(answer.message).toBe('invalid condition: "nosuch"');
  });
});
