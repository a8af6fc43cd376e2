/** `events`: what happens, while it happens and afterwards. */
import { describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { uniqueName } from "../support/engine.ts";
import { at, parseLines } from "../support/json.ts";
import { until } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });

const nowS = (): string => (Date.now() / 1000).toFixed(3);

/** The actions that match filters, from a moment to now. */
async function actionsSince(
  sinceS: string,
  filters: Readonly<Record<string, readonly string[]>>,
): Promise<readonly unknown[]> {
  // What has just been done is before the end of the time that is asked for.
  await Bun.sleep(20);
  const query = new URLSearchParams({
    since: sinceS,
    until: nowS(),
    filters: JSON.stringify(filters),
  });
  const answer = await engine.api("GET", `/events?${query}`);
  return parseLines(answer.text).map((event) => at(event, "Action"));
}

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`events with ${name}`, () => {
    test("follow a container's life", async () => {
      const container = uniqueName();
      const format = ["--format", "{{.Action}}"];
      await using child = cli.start(["events", "-f", `container=${container}`, ...format]);
      await Bun.sleep(400);
      await cli.ok("run", "--rm", "--name", container, "busybox", "true");
      await child.prints(/create\n(attach\n)?(attach\n)?start\n(attach\n)?die\ndestroy\n/);
    });

    test("--since and --until give the past and end", async () => {
      const container = uniqueName();
      const since = nowS();
      await cli.ok(
        "run",
        "-d",
        "--name",
        container,
        "-l",
        "team=blue",
        "busybox",
        "sh",
        "-c",
        "exit 2",
      );
      await engine.api("POST", `/containers/${container}/wait`);
      await Bun.sleep(100);
      const said = await cli.ok(
        ...["events", "--since", since, "--until", nowS(), "-f", `container=${container}`],
        ...["--format", "json"],
      );
      const die = parseLines(said).find((event) => at(event, "Action") === "die");
      expect(at(die, "Type")).toBe("container");
      expect(at(die, "Actor", "Attributes")).toMatchObject({
        name: container,
        image: "busybox",
        exitCode: "2",
        team: "blue",
      });
    });

    test("the plain form has time, type, action, ID and attributes", async () => {
      const since = nowS();
      const id = await cli.ok("create", "busybox");
      const said = await cli.ok(
        "events",
        "--since",
        since,
        "--until",
        nowS(),
        "-f",
        "event=create",
      );
      expect(said).toMatch(
        new RegExp(`^\\d{4}-\\S+ container create ${id} \\(.*image=busybox.*name=.*\\)$`, "m"),
      );
    });
  });
}

describe("events by API", () => {
  test("every change has its event", async () => {
    const container = uniqueName();
    const since = nowS();
    const id = await engine.runDetached({ Image: "busybox", Cmd: ["sleep", "60"] }, container);
    await engine.api("POST", `/containers/${id}/pause`);
    await engine.api("POST", `/containers/${id}/unpause`);
    await engine.api("POST", `/containers/${id}/rename?name=${container}-new`);
    await engine.api("POST", `/containers/${id}/restart?t=0`);
    await engine.api("POST", `/containers/${id}/kill`);
    await engine.api("POST", `/containers/${id}/wait`);
    await engine.api("DELETE", `/containers/${id}`);
    const actions = await actionsSince(since, { container: [id] });
    for (const wanted of [
      ...["create", "start", "pause", "unpause", "rename", "restart", "kill", "die", "destroy"],
    ]) {
      expect(actions).toContain(wanted);
    }
  });

  test("images and volumes have theirs", async () => {
    const since = nowS();
    const image = uniqueName("img");
    await engine.api("POST", `/images/busybox/tag?repo=${image}`);
    await engine.api("DELETE", `/images/${image}`);
    const volume = uniqueName("vol");
    await engine.api("POST", "/volumes/create", { Name: volume });
    await engine.api("DELETE", `/volumes/${volume}`);
    expect(await actionsSince(since, { type: ["image"] })).toEqual(
      expect.arrayContaining(["tag", "untag"]),
    );
    expect(await actionsSince(since, { type: ["volume"], volume: [volume] })).toEqual([
      "create",
      "destroy",
    ]);
  });

  test("filters narrow by event, type, image and label", async () => {
    const since = nowS();
    const label = uniqueName("label");
    await engine.api("POST", "/containers/create", { Image: "busybox", Labels: { [label]: "x" } });
    expect(await actionsSince(since, { label: [`${label}=x`] })).toEqual(["create"]);
    expect(await actionsSince(since, { label: [`${label}=y`] })).toEqual([]);
    expect(await actionsSince(since, { event: ["start"] })).toEqual([]);
    expect(await actionsSince(since, { image: ["busybox"], label: [label] })).toEqual(["create"]);
    expect(await actionsSince(since, { type: ["network"] })).toEqual([]);
  });

  test("an exec tells its command", async () => {
    const since = nowS();
    const id = await engine.runDetached({ Image: "busybox", Cmd: ["sleep", "60"] });
    const created = await engine.api("POST", `/containers/${id}/exec`, { Cmd: ["echo", "x"] });
    await engine.api("POST", `/exec/${String(at(created.json, "Id"))}/start`, { Detach: true });
    await until(
      async () => (await actionsSince(since, { container: [id] })).includes("exec_die"),
      "the end of the exec",
    );
    const actions = await actionsSince(since, { container: [id] });
    expect(actions).toContain("exec_create: echo x");
    expect(actions).toContain("exec_start: echo x");
  });

  test("a client that goes away leaves no listener", async () => {
    const before = at((await engine.api("GET", "/info")).json, "NEventsListener");
    const stop = new AbortController();
    await engine.open("GET", "/events", undefined, { signal: stop.signal });
    stop.abort();
    await until(
      async () => at((await engine.api("GET", "/info")).json, "NEventsListener") === before,
      "the listener to go",
    );
  });

  test("bad times and filters are refused", async () => {
    // Docker: answers 500, seen in 28.5
    const never = await engine.api("GET", "/events?since=never");
    expect([400, 500]).toContain(never.status);
    expect(never.message).not.toBe("");
    expect((await engine.api("GET", "/events?until=1&filters=nonsense")).status).toBe(400);
  });
});
