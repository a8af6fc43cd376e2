/** dockerode, as programs use it, drives the daemon; with a Docker to compare with, that too. */
import { afterAll, describe, expect, test } from "bun:test";
import Docker from "dockerode";
import { once } from "node:events";
import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { at, parseLines } from "../support/json.ts";
import { rootTar } from "../support/images.ts";
import { tar } from "../support/tar.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { referenceHost } from "../support/engine.ts";

const image = "cf-dockerode";
const daemon: TestDaemon | undefined =
  referenceHost === undefined ? await startDaemon() : undefined;
const socketPath = daemon?.engine.socketPath ?? (referenceHost ?? "").replace("unix://", "");
const docker = new Docker({ socketPath });
const Labels = { "cf-dockerode": "1" };

await drain(await docker.importImage(Readable.from([rootTar()]) as never, { repo: image }));

afterAll(async () => {
  for (const { Id } of await docker.listContainers({
    all: true,
    filters: { label: ["cf-dockerode"] },
  })) {
    await docker.getContainer(Id).remove({ force: true, v: true });
  }
  await docker.getImage(image).remove({ force: true });
  await daemon?.[Symbol.asyncDispose]();
});

describe("dockerode", () => {
  test("creates, attaches, starts, waits, reads the log and removes", async () => {
    const container = await docker.createContainer({
      Image: image,
      name: "cf-dockerode-1",
      Cmd: ["sh", "-c", "cat; echo err >&2; exit 3"],
      OpenStdin: true,
      StdinOnce: true,
      AttachStdin: true,
      Labels,
    });
    const stream = await container.attach({
      stream: true,
      hijack: true,
      stdin: true,
      stdout: true,
      stderr: true,
    });
    const [stdout, stderr] = demux(stream);
    await container.start();
    stream.write("typed\n");
    stream.end();
    expect(await container.wait()).toEqual({ StatusCode: 3 });
    expect([await stdout, await stderr]).toEqual(["typed\n", "err\n"]);

    const log = await container.logs({ stdout: true, stderr: true, timestamps: false });
    expect(log.toString("latin1")).toContain("typed\n");
    const followed = await container.logs({ follow: true, stdout: true, stderr: true });
    const parts = demux(followed);
    expect(await Promise.all(parts)).toEqual(["typed\n", "err\n"]);
    const state = await container.inspect();
    expect([state.Name, state.State.ExitCode]).toEqual(["/cf-dockerode-1", 3]);
    await container.remove();
    await expect(container.inspect()).rejects.toMatchObject({
      statusCode: 404,
      json: { message: `No such container: ${container.id}` },
    });
  });

  test("runs to the end with its own run()", async () => {
    const output = new PassThrough();
    const said = text(output);
    const [result, container] = (await docker.run(image, ["sh", "-c", "echo run; exit 4"], output, {
      Labels,
    })) as [{ StatusCode: number }, Docker.Container];
    output.end();
    expect(result.StatusCode).toBe(4);
    expect(await said).toBe("run\r\n");
    await container.remove();
  });

  test("execs with input, resizes and learns the exit code", async () => {
    const container = await docker.createContainer({ Image: image, Cmd: ["sleep", "300"], Labels });
    await container.start();
    const exec = await container.exec({
      Cmd: ["sh", "-c", "read a; echo got $a; exit 5"],
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
    });
    const stream = await exec.start({ hijack: true, stdin: true });
    const [stdout] = demux(stream);
    stream.write("x\n");
    stream.end();
    expect(await stdout).toBe("got x\n");
    expect(await exec.inspect()).toMatchObject({ ExitCode: 5, Running: false });

    const terminal = await container.exec({
      Cmd: ["sh"],
      Tty: true,
      AttachStdout: true,
      AttachStdin: true,
    });
    const shell = await terminal.start({ hijack: true, stdin: true, Tty: true });
    await terminal.resize({ h: 11, w: 22 });
    shell.write("stty size; exit\n");
    expect(await text(shell)).toContain("11 22");
    await container.kill();
    await container.remove({ force: true });
  });

  test("lists, follows events and handles volumes", async () => {
    const events = await docker.getEvents({ filters: { label: ["cf-dockerode"] } });
    const seen: unknown[] = [];
    events.on("data", (chunk: Buffer) => seen.push(...parseLines(chunk.toString())));
    const container = await docker.createContainer({ Image: image, Cmd: ["true"], Labels });
    await container.start();
    await container.wait();
    const listed = await docker.listContainers({ all: true, filters: { id: [container.id] } });
    expect(listed.map(({ Image, Command }) => [Image, Command])).toEqual([[image, "true"]]);
    await container.remove();
    await Bun.sleep(300);
    (events as Readable).destroy();
    const actions = seen.map((event) => at(event, "Action"));
    expect(actions).toEqual(["create", "start", "die", "destroy"]);

    await docker.createVolume({ Name: "cf-dockerode", Labels });
    expect(await docker.getVolume("cf-dockerode").inspect()).toMatchObject({ Driver: "local" });
    const { Volumes } = await docker.listVolumes({ filters: { label: ["cf-dockerode"] } });
    expect(Volumes.map(({ Name }) => Name)).toEqual(["cf-dockerode"]);
    await docker.getVolume("cf-dockerode").remove();
  });

  test("builds with BuildKit, whose progress it decodes", async () => {
    const content = `FROM ${image}\nRUN echo $((40 + 2)) told\n`;
    const building = await docker.buildImage(
      Readable.from([tar([{ name: "Dockerfile", content }])]) as never,
      { version: "2", t: "cf-dockerode3", labels: Labels, nocache: true },
    );
    // Not in its types yet.
    const follow = Reflect.get(docker, "followProgress") as Docker["modem"]["followProgress"];
    const told = await progressOf(building, follow.bind(docker));
    expect(JSON.stringify(told)).toMatch(/\[1\/2\] FROM .*Built image: sha256:/);
    const built = await docker.getImage("cf-dockerode3").inspect();
    expect(built.Config.Labels).toMatchObject(Labels);
    await docker.getImage("cf-dockerode3").remove();
  });

  test("tags, saves, loads and inspects images", async () => {
    await docker.getImage(image).tag({ repo: "cf-dockerode2", tag: "x" });
    const saved = await docker.getImage("cf-dockerode2:x").get();
    const bytes: Buffer[] = [];
    for await (const chunk of saved) bytes.push(Buffer.from(chunk as Uint8Array));
    await docker.getImage("cf-dockerode2:x").remove();
    const loading = await docker.loadImage(Readable.from(bytes) as never, {});
    expect(await progressOf(loading)).toContainEqual({ stream: "Loaded image: cf-dockerode2:x\n" });
    expect((await docker.getImage("cf-dockerode2:x").inspect()).RepoTags).toContain(
      "cf-dockerode2:x",
    );
    await docker.getImage("cf-dockerode2:x").remove();
    const info = (await docker.info()) as { OSType: string };
    expect(info.OSType).toBe("linux");
    expect((await docker.ping()).toString()).toBe("OK");
  });
});

function demux(stream: NodeJS.ReadableStream): readonly [Promise<string>, Promise<string>] {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, stdout, stderr);
  stream.on("end", () => {
    stdout.end();
    stderr.end();
  });
  return [text(stdout), text(stderr)];
}

async function drain(stream: NodeJS.ReadableStream): Promise<void> {
  stream.resume();
  await once(stream, "end");
}

async function progressOf(
  stream: NodeJS.ReadableStream,
  follow: Docker["modem"]["followProgress"] = docker.modem.followProgress.bind(docker.modem),
): Promise<readonly unknown[]> {
  const done = Promise.withResolvers<readonly unknown[]>();
  follow(stream, (error, messages: readonly unknown[]) => {
    if (error === null) done.resolve(messages);
    else done.reject(error);
  });
  return await done.promise;
}
