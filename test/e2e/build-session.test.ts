/** Our own client of BuildKit's protocol against the engine; against Docker with TUG_TEST_REFERENCE. */
import { describe, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import net from "node:net";
import { join } from "node:path";
import type { StatusResponse } from "../../src/api/buildkit/control.ts";
import {
  type BuildSessionOptions,
  openBuildSession,
  type OutputTarget,
  uploadUrl,
} from "../../src/client/session/build-session.ts";
import { openBuildConnection } from "../../src/client/session/solve.ts";
import { openTransport } from "../../src/client/transport.ts";
import { tar } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const transport = openTransport({ kind: "unix", path: engine.socketPath });

/** A folder with files. */
function makeFolder(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(engine.folder, "ctx-"));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** Builds a folder. @returns what the steps printed, and what was made */
async function build(
  folder: string,
  options: Partial<BuildSessionOptions> & {
    readonly attrs?: Readonly<Record<string, string>>;
    readonly exporters?: readonly { type: string; attrs: ReadonlyMap<string, string> }[];
  } = {},
): Promise<{
  readonly output: string;
  readonly names: readonly string[];
  readonly cached: readonly string[];
  readonly made: ReadonlyMap<string, string>;
}> {
  const { attrs = {}, exporters = [], ...offered } = options;
  await using session = await openBuildSession(transport, {
    sharedKey: "",
    folders: new Map([
      ["context", folder],
      ["dockerfile", folder],
    ]),
    ...offered,
  });
  using connection = await openBuildConnection(transport);
  const statuses: StatusResponse[] = [];
  try {
    const made = await connection.solve({
      request: {
        session: session.id,
        frontend: "dockerfile.v0",
        frontendAttrs: new Map(Object.entries(attrs)),
        exporters,
      },
      onStatus: (status) => statuses.push(status),
      ...(offered.signal === undefined ? {} : { signal: offered.signal }),
    });
    const vertexes = statuses.flatMap((status) => status.vertexes);
    return {
      output: outputOf(statuses),
      names: [...new Set(vertexes.map(({ name }) => name))],
      cached: [...new Set(vertexes.filter(({ cached }) => cached).map(({ name }) => name))],
      made,
    };
  } catch (error) {
    if (error instanceof Error) error.message += `\n${outputOf(statuses)}`;
    throw error;
  }
}

function outputOf(statuses: readonly StatusResponse[]): string {
  const logs = statuses.flatMap((status) => status.logs);
  return Buffer.concat(logs.map(({ msg }) => msg)).toString();
}

const noCache = { "no-cache": "" };

describe("our client", () => {
  test("builds an image, with a context that leaves out what is ignored", async () => {
    const folder = makeFolder({
      Dockerfile: "FROM busybox\nCOPY . /ctx\nRUN cd /ctx && find . -type f | sort\n",
      "keep/a": "a",
      "keep/b.log": "b",
      "keep/c.log": "c",
      ".dockerignore": "**/*.log\n!keep/c.log\nDockerfile\n.dockerignore\n",
    });
    const { output, made, names } = await build(folder, {
      attrs: noCache,
      exporters: [{ type: "moby", attrs: new Map([["name", "own:1"]]) }],
    });
    expect(output).toBe("./keep/a\n./keep/c.log\n");
    expect(names).toContain("[internal] load build context");
    const image = await engine.api("GET", "/images/own:1/json");
    expect(made.get("containerimage.config.digest")).toBe(
      String((image.json as { Id: string }).Id),
    );
  });

  test("sends links as links, and keeps times and modes", async () => {
    const folder = makeFolder({
      Dockerfile:
        "FROM busybox\nCOPY d /d\nRUN cd /d && stat -c '%n %a %Y' f && readlink l && readlink out\n",
      "d/f": "f",
    });
    utimesSync(join(folder, "d/f"), 1_000_000, 1_000_000);
    symlinkSync("f", join(folder, "d/l"));
    symlinkSync("/etc/passwd", join(folder, "d/out"));
    const { output } = await build(folder, { attrs: noCache });
    expect(output).toBe("f 644 1000000\nf\n/etc/passwd\n");
  });

  test("gives secrets and an agent", async () => {
    const folder = makeFolder({
      Dockerfile:
        "FROM busybox\nRUN --mount=type=secret,id=s sha256sum < /run/secrets/s\n" +
        "RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo agent\n",
    });
    const path = join(folder, "agent");
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    try {
      const { output } = await build(folder, {
        attrs: noCache,
        secret: async (id) => await Promise.resolve(id === "s" ? Buffer.from("x") : undefined),
        sshAgents: new Map([["default", path]]),
      });
      expect(output).toContain("2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881");
      expect(output).toContain("agent\n");
    } finally {
      server.close();
    }
  });

  test("takes a folder and an archive", async () => {
    const folder = makeFolder({
      Dockerfile: "FROM scratch\nCOPY d /d\n",
      "d/sub/f": "content",
      "d/big": "b".repeat(300_000),
    });
    const target = join(folder, "target");
    const chunks: Uint8Array[] = [];
    const { names } = await build(folder, {
      exporters: [
        { type: "local", attrs: new Map() },
        { type: "tar", attrs: new Map() },
      ],
      outputs: new Map<number, OutputTarget>([
        [0, { kind: "folder", path: target }],
        [
          1,
          {
            kind: "file",
            write: async (bytes) => {
              for await (const chunk of bytes) chunks.push(Uint8Array.from(chunk));
            },
          },
        ],
      ]),
    });
    expect(names.join()).toMatch(/exporting to client/);
    expect(readFileSync(join(target, "d/sub/f"), "utf8")).toBe("content");
    expect(readFileSync(join(target, "d/big"), "utf8").length).toBe(300_000);
    expect(Buffer.concat(chunks).toString("latin1")).toContain("d/sub/f");
  });

  test("gives a context from its stdin", async () => {
    const archive = tar([
      { name: "Dockerfile", content: "FROM busybox\nCOPY f /f\nRUN cat /f\n" },
      { name: "f", content: "from stdin\n" },
    ]);
    const uploads = new Map([
      [
        "up1",
        (async function* () {
          yield archive;
        })(),
      ],
    ]);
    const { output } = await build(makeFolder({}), {
      uploads,
      attrs: { ...noCache, context: uploadUrl("up1") },
    });
    expect(output).toBe("from stdin\n");
  });

  test("hears of cached steps, and of a step that fails", async () => {
    const folder = makeFolder({ Dockerfile: `FROM busybox\nRUN echo ${Date.now()}\n` });
    await build(folder);
    expect((await build(folder)).cached.join()).toContain("RUN echo");
    const bad = makeFolder({ Dockerfile: "FROM busybox\nRUN echo why; exit 9\n" });
    const failure = (await build(bad).catch((error: unknown) => error)) as Error;
    expect(failure.message).toMatch(/exit code: 9\nwhy\n/);
  });

  test("cancels", async () => {
    const folder = makeFolder({ Dockerfile: "FROM busybox\nRUN sleep 100\n" });
    const stop = new AbortController();
    const started = build(folder, { attrs: noCache, signal: stop.signal }).catch((e) => e);
    setTimeout(() => stop.abort(), 1500);
    expect(await started).toMatchObject({ kind: "canceled" });
  });

  test("is told of a folder that it does not offer", async () => {
    const folder = makeFolder({ Dockerfile: "FROM scratch\nCOPY x /\n" });
    const failure = (await build(folder, { folders: new Map() }).catch((e) => e)) as Error;
    expect(failure.message).toMatch(/no access allowed to dir|no local sources/);
  });
});
