import { describe, expect, test } from "bun:test";
import { candidatesFor } from "./completion/candidates.ts";
import { commandGroups, commands, findCommand, plannedCommands } from "./commands.ts";
import { renderHelp } from "./help/usage.ts";

describe("the table of commands", () => {
  test("names nothing twice", () => {
    const names = [...commands.flatMap((one) => one.names), ...plannedCommands];
    expect(new Set(names).size).toBe(names.length);
  });
  test.each(commands.map((entry) => [entry.names[0] ?? "", entry] as const))(
    "%s loads, has flags that do not collide, and help that fits",
    async (name, entry) => {
      const { command } = await entry.load();
      const letters = command.flags.flatMap((flag) =>
        flag.short === undefined ? [] : [flag.short],
      );
      const words = command.flags.map((flag) => flag.name);
      expect(new Set(letters).size).toBe(letters.length);
      expect(new Set(words).size).toBe(words.length);
      const help = renderHelp({ command, entry, name: `tug ${name}` }, 100);
      expect(help).toStartWith(`Usage:  tug ${name}`);
      const options = help.slice(help.indexOf("Options:"));
      for (const line of options.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
    },
  );
  test("knows groups, short forms, planned and unknown commands", () => {
    expect(findCommand(["ps", "-a"])).toMatchObject({ kind: "command", name: "ps", rest: ["-a"] });
    expect(findCommand(["container", "ls"])).toMatchObject({ kind: "command", rest: [] });
    expect(findCommand(["container"])).toMatchObject({ kind: "group" });
    expect(findCommand(["container", "foo"])).toEqual({ kind: "unknown", name: "container foo" });
    expect(findCommand(["compose", "up"])).toEqual({ kind: "planned", name: "compose" });
    expect(findCommand(["volume", "update"])).toEqual({ kind: "planned", name: "volume update" });
    expect(findCommand(["foo"])).toEqual({ kind: "unknown", name: "foo" });
    expect(commandGroups.length).toBeGreaterThan(6);
  });
});

describe("completion", () => {
  const words = async (...typed: readonly string[]): Promise<readonly string[]> =>
    (await candidatesFor(typed)).candidates.map((one) => one.word);
  test("offers commands and groups", async () => {
    const top = await words("");
    expect(top).toContain("ps");
    expect(top).toContain("container");
    expect(await words("container", "")).toContain("ls");
  });
  test("offers flags, and the words a flag takes", async () => {
    expect(await words("run", "--re")).toContain("--restart");
    expect(await words("run", "--restart", "")).toContain("on-failure");
    expect(await words("run", "--pull=")).toContain("--pull=never");
    expect(await words("-H", "x", "ps", "--")).toContain("--all");
    expect(await words("--")).toContain("--host");
  });
  test("asks the engine where only it knows", async () => {
    expect((await candidatesFor(["stop", ""])).source).toBe("running");
    expect((await candidatesFor(["rm", "-f", ""])).source).toBe("containers");
    expect((await candidatesFor(["run", "-it", ""])).source).toBe("images");
    expect((await candidatesFor(["run", "--network", ""])).source).toBe("networks");
    expect((await candidatesFor(["run", "--env-file", ""])).offersFiles).toBe(true);
    expect((await candidatesFor(["run", "-it", "busybox", ""])).offersFiles).toBe(true);
  });
});
