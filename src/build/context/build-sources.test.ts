import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import type { BuildRequest, LocalRequest } from "../build-service.ts";
import type { BuildServiceOptions } from "../environment.ts";
import { Progress } from "../progress/progress.ts";
import { BuildSources } from "./build-sources.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tug-sources-"));
});
afterEach(() => rmSync(root, { recursive: true }));

/** A client far away: each folder comes when the test says so. */
class FarClient {
  readonly asked: string[] = [];
  readonly releases: (() => void)[] = [];
  openCount = 0;

  async folder({
    name,
    followPaths = [],
  }: LocalRequest): Promise<AsyncDisposable & { path: string }> {
    const wanted = `${name}: ${followPaths.join(" ")}`;
    this.asked.push(wanted);
    await new Promise<void>((resolve) => this.releases.push(resolve));
    if (name === "broken") throw new EngineError("unavailable", "the client is gone");
    this.openCount += 1;
    const path = join(root, name);
    return {
      path,
      [Symbol.asyncDispose]: async () => {
        this.openCount -= 1;
        await Promise.resolve();
      },
    };
  }
}

function openSources(client: FarClient, main = "context"): BuildSources {
  const request = {
    client,
    main: { kind: "local", name: main },
    dockerfileFrom: { kind: "local", name: "dockerfile" },
    platforms: [],
    outputs: [],
    contexts: new Map(),
  } as object as BuildRequest;
  return new BuildSources({} as object as BuildServiceOptions, {
    request,
    progress: new Progress(() => undefined),
    leaseId: "lease",
    signal: new AbortController().signal,
  });
}

function writeFiles(files: Readonly<Record<string, string>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), content);
  }
}

describe("sources of a client", () => {
  test("the Dockerfile and .dockerignore are asked for at once, and each once", async () => {
    writeFiles({ "dockerfile/Dockerfile": "FROM scratch\n", "context/.dockerignore": "*.log\n" });
    const client = new FarClient();
    const sources = openSources(client);
    const dockerfile = sources.readDockerfile();
    await Bun.sleep(1);
    expect(client.asked.toSorted()).toEqual([
      "context: .dockerignore",
      "dockerfile: Dockerfile Dockerfile.dockerignore",
    ]);
    for (const release of client.releases) release();
    expect(Buffer.from(await dockerfile).toString()).toBe("FROM scratch\n");
    await sources.readIgnored();
    expect(sources.ignored).toEqual(["*.log"]);
    expect(client.asked.length).toBe(2);
    await sources[Symbol.asyncDispose]();
    expect(client.openCount).toBe(0);
  });

  test("a Dockerfile's own ignore file goes first, and the other is given back", async () => {
    writeFiles({
      "dockerfile/Dockerfile": "FROM scratch\n",
      "dockerfile/Dockerfile.dockerignore": "own\n",
      "context/.dockerignore": "other\n",
    });
    const client = new FarClient();
    const sources = openSources(client);
    const dockerfile = sources.readDockerfile();
    await Bun.sleep(1);
    const [first, second] = client.asked[0]?.startsWith("dockerfile") ? [0, 1] : [1, 0];
    client.releases[first]?.();
    await dockerfile;
    await sources.readIgnored();
    expect(sources.ignored).toEqual(["own"]);
    const closed = sources[Symbol.asyncDispose]();
    client.releases[second]?.();
    await closed;
    expect(client.openCount).toBe(0);
  });

  test("a context that cannot be read fails where it is needed", async () => {
    writeFiles({ "dockerfile/Dockerfile": "FROM scratch\n" });
    const client = new FarClient();
    const sources = openSources(client, "broken");
    const dockerfile = sources.readDockerfile();
    await Bun.sleep(1);
    for (const release of client.releases) release();
    await dockerfile;
    await expect(sources.readIgnored()).rejects.toThrow("the client is gone");
    await sources[Symbol.asyncDispose]();
  });
});
