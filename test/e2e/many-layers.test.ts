/** Images of many layers: loaded, run, written to, committed and saved. */
import { describe, expect, test } from "bun:test";
import { uniqueName } from "../support/engine.ts";
import { dockerArchive, rootTar } from "../support/images.ts";
import { listAt } from "../support/json.ts";
import { type TarEntry, tar } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const tug = engine.client("tug");

/** Each layer brings a file, replaces one, and takes away that of the layer below. */
function layersOf(count: number): Uint8Array[] {
  const layers: Uint8Array[] = [rootTar()];
  for (let at = 1; at < count; at += 1) {
    const entries: TarEntry[] = [
      { name: "stack/", type: "directory" },
      { name: `stack/layer-${at}`, content: `${at}\n` },
      { name: "stack/last", content: `${at}\n` },
    ];
    if (at > 1) entries.push({ name: `stack/.wh.layer-${at - 1}`, content: "" });
    if (at === Math.floor(count / 2)) {
      entries.push(
        { name: "stack/half/", type: "directory" },
        { name: "stack/half/f", content: "x" },
      );
    }
    layers.push(tar(entries));
  }
  return layers;
}

describe("an image", () => {
  test.each([40, 130])(
    "of %d layers loads, runs, is written to and committed",
    async (count) => {
      const name = `${uniqueName("deep")}:1`;
      const archive = dockerArchive({ tags: [name], layers: layersOf(count) });
      const loaded = await tug.run(["load", "-q"], { input: archive });
      expect(loaded.stdout.trim()).toBe(`Loaded image: ${name}`);
      const shown = (await engine.api("GET", `/images/${name}/json`)).json;
      expect(listAt(shown, "RootFS", "Layers").length).toBe(count);
      expect(await tug.ok("run", "--rm", name, "sh", "-c", "ls /stack; cat /stack/last")).toBe(
        ["half", "last", `layer-${count - 1}`, `${count - 1}`].join("\n"),
      );
      const id = await engine.runDetached({
        Image: name,
        Cmd: ["sh", "-c", "rm -r /stack/half; echo more >/stack/last"],
      });
      await engine.api("POST", `/containers/${id}/wait`);
      expect((await tug.ok("diff", id)).split("\n").toSorted()).toEqual([
        "C /stack",
        "C /stack/last",
        "D /stack/half",
      ]);
      const child = `${uniqueName("deeper")}:1`;
      await tug.ok("commit", id, child);
      expect(await tug.ok("run", "--rm", child, "sh", "-c", "ls /stack; cat /stack/last")).toBe(
        ["last", `layer-${count - 1}`, "more"].join("\n"),
      );
      const saved = (await tug.run(["save", child])).stdoutBytes;
      await tug.ok("rm", id);
      await tug.ok("rmi", child, name);
      await tug.run(["load", "-q"], { input: saved });
      expect(await tug.ok("run", "--rm", child, "cat", "/stack/last")).toBe("more");
      await tug.ok("rmi", child);
    },
    60_000,
  );
});
