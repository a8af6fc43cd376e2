/** One side of a comparison: asks an engine and writes down what it answers. */
import { type Answer, type RawConnection, readFrames } from "../support/http.ts";
import { apiVersion, type Engine } from "../support/engine.ts";
import { listAt, parseLines, textAt } from "../support/json.ts";
import type { Normalise } from "./normalise.ts";

/** What an engine answered in one step; steps are matched by their labels. */
export interface Entry {
  readonly label: string;
  readonly value: unknown;
}

/** How a step's answer is read. */
export interface AskOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly version?: string;
  /** json: one document. lines: several. frames: a multiplexed log. status: no look at the body. */
  readonly read?: "json" | "lines" | "frames" | "text" | "status";
}

/** One engine in one scenario. */
export interface Talk {
  readonly engine: Engine;
  /** Asks without writing down. */
  api(method: string, path: string, body?: unknown): Promise<Answer>;
  /** Asks, and writes down status, headers and body under a label. `target` is `METHOD /path`. */
  ask(label: string, target: string, options?: AskOptions): Promise<Answer>;
  /** Writes down something else. */
  note(label: string, value: unknown): void;
  /** Creates a container with the comparison's label. @returns its ID */
  create(name: string, config?: Readonly<Record<string, unknown>>): Promise<string>;
  /** Creates and starts. @returns its ID */
  run(name: string, config?: Readonly<Record<string, unknown>>): Promise<string>;
  /** Resolves when a container is in a state. */
  reaches(name: string, status: string): Promise<void>;
  raw(): Promise<RawConnection>;
  readonly entries: readonly Entry[];
}

/** A sequence of requests that both engines are asked. */
export interface Scenario {
  readonly name: string;
  readonly run: (talk: Talk) => Promise<void>;
}

/** The label of everything that a comparison makes. */
export const comparisonLabel = "cf-comparison";
/** The image that both engines have of the same archive. */
export const image = "cf-busybox";

const headersThatMatter = [
  "content-type",
  "api-version",
  "ostype",
  "docker-experimental",
  "builder-version",
  "swarm",
  "cache-control",
  "pragma",
];
const stateMaxMs = 10_000;

/** Opens one side of a comparison. */
export function openTalk(engine: Engine, normalise: Normalise): Talk {
  const entries: Entry[] = [];
  const write = (label: string, value: unknown): void => {
    entries.push({ label, value: normalise(value) });
  };
  const talk: Talk = {
    engine,
    entries,
    api: async (method, path, body) => await engine.api(method, path, body),
    async ask(label, target, options = {}) {
      const split = target.indexOf(" ");
      const path = target.slice(split + 1);
      const versioned =
        options.version === "" || path.startsWith("/v1.")
          ? path
          : `/v${options.version ?? apiVersion}${path}`;
      const answer = await engine.api(
        target.slice(0, split),
        versioned,
        options.body,
        options.headers === undefined ? {} : { headers: options.headers },
      );
      write(label, {
        status: answer.status,
        headers: headersOf(answer),
        body: bodyOf(answer, options.read ?? "json"),
      });
      return answer;
    },
    note: write,
    async create(name, config = {}) {
      const made = await engine.api("POST", `/containers/create?name=${name}`, {
        Image: image,
        ...config,
        Labels: { [comparisonLabel]: "1", ...(config["Labels"] as object | undefined) },
      });
      return textAt(made.json, "Id");
    },
    async run(name, config) {
      const id = await talk.create(name, config);
      await engine.api("POST", `/containers/${id}/start`);
      return id;
    },
    async reaches(name, status) {
      const end = performance.now() + stateMaxMs;
      for (;;) {
        const found = await engine.api("GET", `/containers/${name}/json`);
        if (found.status !== 200 || textAt(found.json, "State", "Status") === status) return;
        if (performance.now() > end) return write(`${name} never was ${status}`, found.json);
        await Bun.sleep(20);
      }
    },
    raw: async () => await engine.raw(),
  };
  return talk;
}

/** Takes along what a scenario made; nothing else, for the other engine has other users. */
export async function clearTalk(engine: Engine): Promise<void> {
  const filters = encodeURIComponent(JSON.stringify({ label: [comparisonLabel] }));
  const containers = await engine.api("GET", `/containers/json?all=1&filters=${filters}`);
  for (const item of listAt(containers.json)) {
    await engine.api("DELETE", `/containers/${textAt(item, "Id")}?force=1&v=1`);
  }
  const images = await engine.api("GET", `/images/json?filters=${filters}`);
  for (const item of listAt(images.json)) {
    const names = listAt(item, "RepoTags");
    if (names.includes(`${image}:latest`)) continue;
    await engine.api("DELETE", `/images/${textAt(item, "Id")}?force=1`);
  }
  const volumes = await engine.api("GET", `/volumes?filters=${filters}`);
  for (const item of listAt(volumes.json, "Volumes")) {
    await engine.api("DELETE", `/volumes/${textAt(item, "Name")}?force=1`);
  }
}

/** The frames of each stream: which of two pipes is read first is chance. */
function framesByStream(bytes: Uint8Array): Readonly<Record<string, readonly string[]>> {
  const found: Record<string, string[]> = {};
  for (const { stream, text } of readFrames(bytes)) {
    found[stream] = [...(found[stream] ?? []), text];
  }
  return found;
}

function headersOf(answer: Answer): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of headersThatMatter) {
    const value = answer.headers.get(name);
    if (value !== null) found[name] = value;
  }
  return found;
}

function bodyOf(answer: Answer, read: NonNullable<AskOptions["read"]>): unknown {
  switch (read) {
    case "json":
      return answer.json ?? answer.text;
    case "lines":
      return answer.status === 200 ? parseLines(answer.text) : answer.json;
    case "frames":
      return answer.status === 200 ? framesByStream(answer.bytes) : answer.json;
    case "text":
      return answer.text;
    case "status":
      return undefined;
  }
}
