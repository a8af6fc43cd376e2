/**
 * The engine that a test talks to: a daemon of its own, or the reference.
 *
 * `TUG_TEST_REFERENCE=unix:///path/docker.sock` puts a real Docker in the daemon's place, to show that
 * a test tells what Docker does. What only our own daemon can be asked is skipped then.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type Client, type ClientName, openClient } from "./clients.ts";
import { type Answer, openRaw, openRequest, type RawConnection, request } from "./http.ts";
import { recipes, rootTar, testLabel } from "./images.ts";
import { at, listAt, textAt } from "./json.ts";
import { runOk } from "./process.ts";

/** The version that requests are made in unless they name another. */
export const apiVersion = "1.51";

/** Where the reference listens; undefined when tests have a daemon of their own. */
export const referenceHost: string | undefined = process.env["TUG_TEST_REFERENCE"];
/** The reference's network namespace, in which its published ports are. */
const referenceNetns = process.env["TUG_TEST_REFERENCE_NETNS"] ?? "/run/netns/peer";

/** What goes with a request besides method and path. */
export interface ApiOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** An engine under test. */
export interface Engine {
  readonly socketPath: string;
  /** As in DOCKER_HOST. */
  readonly host: string;
  /** A folder for the files of the test, removed at the end. */
  readonly folder: string;
  client(name: ClientName): Client;
  /** Calls the Engine API; paths without a version get `apiVersion`. */
  api(method: string, path: string, body?: unknown, options?: ApiOptions): Promise<Answer>;
  /** As `api`, leaving the body to be read. */
  open(method: string, path: string, body?: unknown, options?: ApiOptions): Promise<Response>;
  /** A connection on which HTTP is written by hand. */
  raw(): Promise<RawConnection>;
  /** Makes images of the tests, unless they are there. */
  ensureImages(...names: readonly string[]): Promise<void>;
  /** Imports an archive as an image. */
  importImage(
    name: string,
    image: { readonly archive: Uint8Array; readonly changes?: readonly string[] },
  ): Promise<Answer>;
  /** Creates a container by API and starts it. @returns its ID */
  runDetached(config: Readonly<Record<string, unknown>>, name?: string): Promise<string>;
  inspect(container: string): Promise<unknown>;
  /** Reads a page of a published port. */
  fetchText(url: string): Promise<string>;
  /** Removes every container that was made of a test's image. */
  removeContainers(): Promise<void>;
}

/** Opens what the API offers on a socket, whoever listens there. */
export function openEngine(socketPath: string, folder: string): Engine {
  const host = `unix://${socketPath}`;
  const versioned = (path: string): string =>
    /^\/(v\d|_ping)/.test(path) ? path : `/v${apiVersion}${path}`;
  const engine: Engine = {
    socketPath,
    host,
    folder,
    client: (name) => openClient(name, { host, home: folder }),
    api: async (method, path, body, options = {}) =>
      await request(socketPath, { method, path: versioned(path) }, { ...options, body }),
    open: async (method, path, body, options = {}) =>
      await openRequest(socketPath, { method, path: versioned(path) }, { ...options, body }),
    raw: async () => await openRaw(socketPath),
    async ensureImages(...names) {
      for (const name of names) {
        if ((await engine.api("GET", `/images/${name}/json`)).status === 200) continue;
        const recipe = recipes[name] ?? assert.fail(`there is no recipe for an image "${name}"`);
        const changes = recipe.changes;
        await engine.importImage(name, { archive: rootTar(recipe), changes });
      }
    },
    async importImage(name, image) {
      const query = new URLSearchParams({ fromSrc: "-", repo: name });
      for (const change of [...(image.changes ?? []), `LABEL ${testLabel}=1`]) {
        query.append("changes", change);
      }
      const answer = await engine.api("POST", `/images/create?${query}`, image.archive, {
        headers: { "Content-Type": "application/x-tar" },
      });
      assert.equal(answer.status, 200, answer.text);
      assert.doesNotMatch(answer.text, /errorDetail/);
      return answer;
    },
    async runDetached(config, name) {
      const query = name === undefined ? "" : `?name=${encodeURIComponent(name)}`;
      const created = await engine.api("POST", `/containers/create${query}`, config);
      assert.equal(created.status, 201, created.text);
      const id = textAt(created.json, "Id");
      const started = await engine.api("POST", `/containers/${id}/start`);
      assert.equal(started.status, 204, started.text);
      return id;
    },
    inspect: async (container) =>
      (await engine.api("GET", `/containers/${encodeURIComponent(container)}/json`)).json,
    async fetchText(url) {
      if (referenceHost === undefined) return await (await fetch(url)).text();
      const inside = ["nsenter", `--net=${referenceNetns}`, "busybox", "wget", "-qO-", url];
      return await runOk(inside);
    },
    async removeContainers() {
      const filters = JSON.stringify({ label: [testLabel] });
      const list = await engine.api(
        "GET",
        `/containers/json?all=1&filters=${encodeURIComponent(filters)}`,
      );
      for (const item of listAt(list.json)) {
        await engine.api("DELETE", `/containers/${textAt(item, "Id")}?force=1&v=1`);
      }
    },
  };
  return engine;
}

let nameCount = 0;

/** A name that no other test has. */
export function uniqueName(stem = "c"): string {
  nameCount += 1;
  return `${stem}-${process.pid}-${nameCount}`;
}

/** What an engine says of its images: the ID of one. */
export async function imageId(engine: Engine, name: string): Promise<string> {
  const answer = await engine.api("GET", `/images/${name}/json`);
  return String(at(answer.json, "Id"));
}

/** The path of a file of the test's folder. */
export function inFolder(engine: Engine, name: string): string {
  return join(engine.folder, name);
}
