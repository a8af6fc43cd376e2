/** Bad input: a sentence, the right status, nothing leaked and nothing left behind. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { clientNames } from "../support/clients.ts";
import { inFolder, referenceHost, uniqueName } from "../support/engine.ts";
import type { Answer } from "../support/http.ts";
import { busyboxEntries, dockerArchive, rootTar } from "../support/images.ts";
import { at, textAt } from "../support/json.ts";
import { until } from "../support/process.ts";
import { type TarEntry, tar } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const isOurs = referenceHost === undefined;

/** Loads an archive that must be refused. @returns what was said */
async function refusedLoad(archive: Uint8Array): Promise<string> {
  const answer = await engine.api("POST", "/images/load", archive);
  const isRefused = answer.status >= 400 || answer.text.includes("errorDetail");
  expect({ isRefused, text: isRefused ? "" : answer.text }).toEqual({ isRefused: true, text: "" });
  expect(answer.text).not.toMatch(/at \S+ \(|\.ts:\d+/);
  return answer.text;
}

const loadLayer = async (entries: readonly TarEntry[]): Promise<string> =>
  await refusedLoad(dockerArchive({ tags: [`${uniqueName("bad")}:1`], layers: [tar(entries)] }));

describe("requests", () => {
  const create = async (
    body: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> => await engine.api("POST", "/containers/create", body, { headers });

  test("an unknown image is 404 and named", async () => {
    const answer = await create({ Image: "no-such-image" });
    expect(answer.status).toBe(404);
    expect(answer.message).toBe("No such image: no-such-image:latest");
  });

  test("malformed JSON is 400", async () => {
    for (const body of ["{", '{"Image": ', '{"Image": "busybox"} trailing', "[1,2]", "nonsense"]) {
      const answer = await create(body);
      expect({ body, status: answer.status }).toEqual({ body, status: 400 });
      expect(answer.message).not.toBe("");
    }
  });

  test("wrong types are 400 and the field is named", async () => {
    const answer = await create({ Image: "busybox", Env: "A=b" });
    expect(answer.status).toBe(400);
    expect(answer.message).toContain("Env");
    expect((await create({ Image: 5 })).status).toBe(400);
    expect((await create({ Image: "busybox", HostConfig: { Memory: "1g" } })).status).toBe(400);
  });

  test("an empty body, and one that is not JSON, are refused", async () => {
    expect((await create(undefined)).status).toBe(400);
    const text = await create("{}", { "Content-Type": "text/plain" });
    expect([400, 415]).toContain(text.status);
  });

  test.skipIf(!isOurs)("an oversize body is refused and the daemon lives", async () => {
    const answer = await create({ Image: "busybox", Env: ["A=".padEnd(40_000_000, "x")] });
    expect([400, 413]).toContain(answer.status);
    expect((await engine.api("GET", "/_ping")).status).toBe(200);
  });

  test("10,000 environment variables arrive", async () => {
    const Env = Array.from({ length: 10_000 }, (_, index) => `VARIABLE_${index}=value ${index}`);
    const id = await engine.runDetached({
      Image: "busybox",
      Cmd: ["sh", "-c", "env | wc -l"],
      Env,
    });
    const wait = await engine.api("POST", `/containers/${id}/wait`);
    expect(at(wait.json, "StatusCode")).toBe(0);
    const logs = await engine.api("GET", `/containers/${id}/logs?stdout=1`);
    expect(Number(/(\d+)\n/.exec(logs.text.slice(8))?.[1])).toBeGreaterThanOrEqual(10_000);
  });

  test("an unknown runtime, a missing bind source and a bad restart policy leave nothing", async () => {
    const count = async (): Promise<number> => {
      const list = await engine.api("GET", "/containers/json?all=1");
      return Array.isArray(list.json) ? list.json.length : -1;
    };
    const before = await count();
    for (const HostConfig of [
      { Runtime: "no-such" },
      { Mounts: [{ Type: "bind", Source: "/no/such/source", Target: "/m" }] },
      { RestartPolicy: { Name: "sometimes" } },
      { Binds: ["relative"] },
      { CapAdd: ["NO_SUCH"] },
    ]) {
      const answer = await create({ Image: "busybox", HostConfig });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.message).not.toBe("");
    }
    expect(await count()).toBe(before);
  });

  test("junk on the wire closes that connection alone", async () => {
    for (const junk of [
      "GARBAGE\r\n\r\n",
      "\0\0\0\0",
      "GET / HTTP/9.9\r\n\r\n",
      "A".repeat(100_000),
    ]) {
      using raw = await engine.raw();
      raw.send(junk);
      raw.socket.end();
      await Promise.race([raw.ended, Bun.sleep(2000)]);
    }
    expect((await engine.api("GET", "/_ping")).text).toBe("OK");
  });

  test("clients that disconnect in the middle of any stream leave nobody waiting", async () => {
    const id = await engine.runDetached({ Image: "busybox", Cmd: ["sh", "-c", "yes; sleep 60"] });
    const paths = [
      `GET /v1.51/containers/${id}/logs?follow=1&stdout=1`,
      `POST /v1.51/containers/${id}/attach?stream=1&stdout=1`,
      `POST /v1.51/containers/${id}/wait`,
      "GET /v1.51/events",
      "GET /v1.51/images/busybox/get",
    ];
    for (const path of paths) {
      using raw = await engine.raw();
      raw.send(`${path} HTTP/1.1\r\nHost: engine\r\nContent-Length: 0\r\n\r\n`);
      await until(() => raw.received.length > 0, `an answer to ${path}`);
    }
    for (const path of ["/images/load", "/images/create?fromSrc=-&repo=half"]) {
      using raw = await engine.raw();
      const head = `POST /v1.51${path} HTTP/1.1\r\nHost: engine\r\nContent-Length: 4000000\r\n`;
      raw.send(`${head}Content-Type: application/x-tar\r\n\r\n`);
      raw.send(rootTar().subarray(0, 300_000));
      await Bun.sleep(50);
    }
    expect((await engine.api("GET", `/containers/${id}/json`)).status).toBe(200);
    expect((await engine.api("DELETE", `/containers/${id}?force=1`)).status).toBe(204);
    expect((await engine.api("GET", "/images/half/json")).status).toBe(404);
  });
});

describe("archives", () => {
  test("layers with .. or absolute names write nothing outside", async () => {
    const target = `/tmp/${uniqueName("escaped")}`;
    for (const name of [`../../../../../../../..${target}`, `x/../../../../../../../..${target}`]) {
      await loadLayer([{ name, content: "out" }]);
    }
    const tag = `${uniqueName("abs")}:1`;
    const layers = [tar([...busyboxEntries(), { name: target, content: "out" }])];
    await engine.api("POST", "/images/load", dockerArchive({ tags: [tag], layers }));
    expect(existsSync(target)).toBe(false);
    await engine.api("DELETE", `/images/${tag}`);
  });

  test("links that leave the root lead nowhere", async () => {
    const folder = `/tmp/${uniqueName("outside")}`;
    const tag = `${uniqueName("links")}:1`;
    const archive = dockerArchive({
      tags: [tag],
      layers: [
        tar([
          { name: "out", type: "symlink", link: "../../../../../../../../tmp" },
          { name: `out/${folder.slice(5)}`, content: "out" },
          { name: "abs", type: "symlink", link: "/tmp" },
          { name: `abs/${folder.slice(5)}`, content: "out" },
        ]),
      ],
    });
    await engine.api("POST", "/images/load", archive);
    expect(existsSync(folder)).toBe(false);
    await engine.api("DELETE", `/images/${tag}`);
    await loadLayer([{ name: "hard", type: "hardlink", link: "../../../../../../../etc/passwd" }]);
  });

  test("a truncated layer, a truncated gzip and no tar at all are refused", async () => {
    const whole = rootTar();
    const cut = dockerArchive({ tags: ["cut:1"], layers: [whole.subarray(0, 600_000)] });
    await refusedLoad(cut);
    const zipped = gzipSync(dockerArchive({ tags: ["cut:1"], layers: [whole] }));
    await refusedLoad(zipped.subarray(0, zipped.length / 2));
    await refusedLoad(Buffer.from("this is no archive".repeat(100)));
    expect((await engine.api("GET", "/images/cut:1/json")).status).toBe(404);
  });

  test("a wrong digest is refused", async () => {
    const diffIds = [`sha256:${"0".repeat(64)}`];
    await refusedLoad(dockerArchive({ tags: ["wrong:1"], layers: [rootTar()], diffIds }));
    expect((await engine.api("GET", "/images/wrong:1/json")).status).toBe(404);
  });

  test("a manifest or config that is none, or lies, is refused", async () => {
    const layers = [rootTar()];
    for (const archive of [
      dockerArchive({ layers, manifestText: "{" }),
      dockerArchive({ layers, manifestText: '[{"Config":"../../../etc/passwd","Layers":[]}]' }),
      dockerArchive({ layers, manifestText: '[{"Config":"nothere.json","Layers":["nor"]}]' }),
      dockerArchive({ layers, configText: "not json" }),
      dockerArchive({ layers, config: { rootfs: { type: "layers", diff_ids: [] } } }),
      dockerArchive({ tags: ["Bad Name:1"], layers }),
    ]) {
      await refusedLoad(archive);
    }
  });

  test.skipIf(!isOurs)("a FIFO as manifest.json does not hang", async () => {
    await refusedLoad(tar([{ name: "manifest.json", type: "fifo" }]));
  });

  test.skipIf(!isOurs)(
    "a bomb is refused before it fills the disk",
    async () => {
      // 3 GB of zeros in 3 MB.
      const zeros = Buffer.alloc(64 * 1024 * 1024);
      const member = gzipSync(zeros);
      const head = tar([{ name: "zeros", sizeBytes: 48 * zeros.length }]).subarray(0, 512);
      const layer = Buffer.concat([gzipSync(head), ...Array.from({ length: 48 }, () => member)]);
      const archive = dockerArchive({ tags: ["bomb:1"], layers: [layer] });
      const used = (): number =>
        Number(Bun.spawnSync(["du", "-sk", engine.folder]).stdout.toString().split("\t")[0]);
      const before = used();
      await refusedLoad(archive);
      await until(() => used() - before < 100_000, "the remains to go");
    },
    60_000,
  );

  test("hostile names in an image are escaped when printed", async () => {
    const tag = `${uniqueName("names")}:1`;
    const entries = [...busyboxEntries(), { name: "etc/x\u001b[2J\nname", content: "x" }];
    const archive = dockerArchive({ tags: [tag], layers: [tar(entries)] });
    expect((await engine.api("POST", "/images/load", archive)).text).toContain("Loaded image");
    await engine.api("DELETE", `/images/${tag}`);
  });

  test("an image whose /etc/passwd is a FIFO or a link outside cannot hold a container up", async () => {
    for (const passwd of [
      { name: "etc/passwd", type: "fifo" },
      { name: "etc/passwd", type: "symlink", link: "/proc/self/environ" },
      { name: "etc/passwd", type: "char", device: [1, 5] },
    ] satisfies readonly TarEntry[]) {
      if (!isOurs) return;
      const tag = `${uniqueName("passwd")}:1`;
      const entries = busyboxEntries().filter(({ name }) => name !== "etc/passwd");
      const archive = dockerArchive({ tags: [tag], layers: [tar([...entries, passwd])] });
      await engine.api("POST", "/images/load", archive);
      const created = await engine.api("POST", "/containers/create", { Image: tag, User: "app" });
      if (created.status === 201) {
        const id = textAt(created.json, "Id");
        const started = await engine.api("POST", `/containers/${id}/start`);
        expect(started.status).toBeGreaterThanOrEqual(400);
        expect((await engine.api("DELETE", `/containers/${id}?force=1`)).status).toBe(204);
      }
      await engine.api("DELETE", `/images/${tag}?force=1`);
    }
  });

  test("a working directory that is a link outside stays inside", async () => {
    const tag = `${uniqueName("cwd")}:1`;
    const name = uniqueName("made");
    const entries = [
      ...busyboxEntries().filter((entry) => !entry.name.startsWith("tmp")),
      { name: "tmp", type: "symlink", link: "../../../../../../tmp" } as const,
    ];
    const archive = dockerArchive({ tags: [tag], layers: [tar(entries)] });
    await engine.api("POST", "/images/load", archive);
    const created = await engine.api("POST", "/containers/create", {
      Image: tag,
      Cmd: ["true"],
      WorkingDir: `/tmp/${name}`,
    });
    await engine.api("POST", `/containers/${String(at(created.json, "Id"))}/start`);
    expect(existsSync(`/tmp/${name}`)).toBe(false);
    await engine.removeContainers();
    await engine.api("DELETE", `/images/${tag}?force=1`);
  });
});

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`the command line of ${name}`, () => {
    test("an unknown command is refused; tug says which was meant", async () => {
      const said = await cli.fails("rnu", "busybox");
      expect(said).toMatch(/unknown command|is not a (docker|tug) command/);
      if (name === "tug") expect(said).toMatch(/did you mean|run/i);
    });

    test("arguments that are missing or too many are refused", async () => {
      expect(await cli.fails("run")).toMatch(/requires at least 1 argument/);
      expect(await cli.fails("rename", "one")).toMatch(/requires (exactly )?2 arguments/);
      expect(await cli.fails("ps", "stray")).toMatch(/accepts no arguments/);
    });

    test("an env file and a label file that are missing are named", async () => {
      const missing = inFolder(engine, "no-such-file");
      expect(await cli.fails("run", "--env-file", missing, "busybox")).toContain("no-such-file");
    });

    test("no daemon at that address is said in a sentence", async () => {
      const result = await cli.run(["ps"], { env: { DOCKER_HOST: "unix:///no/such.sock" } });
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toMatch(/Cannot connect to the Docker daemon|cannot connect/i);
    });
  });
}
