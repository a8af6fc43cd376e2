import { Readable } from "node:stream";
import { decodeBuildQuery, type BuildParameters } from "../../api/request/decode-build.ts";
import { boolValue, filtersValue, integerValue, textValue } from "../../api/request/query.ts";
import type { BuildEvent, BuildResult, ContextSource } from "../../build/build-service.ts";
import { EngineError, messageOf } from "../../lib/errors.ts";
import {
  familiarString,
  parseReference,
  type Reference,
  withDefaultTag,
} from "../../oci/reference.ts";
import {
  beginJsonLines,
  type Exchange,
  type Handler,
  readBody,
  sendEmpty,
  sendJson,
} from "../exchange.ts";
import { type AskedBuild, requestOf } from "./_build-request.ts";
import { checkTraced, runTracedBuild, sessionContext } from "./_traced-build.ts";

const shownIdLength = 12;

/** Handlers of the build operations, by operation name. */
export const buildRoutes: Readonly<Record<string, Handler>> = {
  ImageBuild: async (exchange) => {
    const parameters = decodeBuildQuery(exchange.query);
    const names = parameters.tags.map(tagOf).map(familiarString);
    if (parameters.version === "2") checkTraced(parameters);
    const main = await contextOf(exchange, parameters);
    const build = { parameters, main: main.source, names };
    try {
      if (parameters.version === "2") await runTracedBuild(exchange, build);
      else await runBuild(exchange, build);
    } finally {
      await main.close();
    }
  },

  BuildCancel: async (exchange) => {
    await readBody(exchange);
    const id = textValue(exchange.query, "id");
    if (id === "") throw new EngineError("invalid-argument", "build ID not provided");
    exchange.backend.builds.cancel(id);
    sendEmpty(exchange, 204);
  },

  BuildPrune: async (exchange) => {
    await readBody(exchange);
    const { query } = exchange;
    const space = (name: string): number => integerValue(query, name) ?? 0;
    const bounds = {
      maxUsedBytes: space("max-used-space"),
      minFreeBytes: space("min-free-space"),
      // Called keep-storage before version 1.48.
      reservedBytes: space("reserved-space") || space("keep-storage"),
    };
    const { removed, spaceReclaimedBytes } = await exchange.backend.builds.prune({
      all: boolValue(query, "all"),
      bounds,
      filters: filtersValue(query),
    });
    sendJson(exchange, {
      CachesDeleted: removed.length === 0 ? null : removed,
      SpaceReclaimed: spaceReclaimedBytes,
    });
  },
};

function tagOf(text: string): Reference {
  const reference = parseReference(text);
  if (reference.digest === undefined) return withDefaultTag(reference);
  throw new EngineError("invalid-argument", "build tag cannot contain a digest");
}

interface OpenContext {
  readonly source: ContextSource;
  readonly close: () => Promise<void>;
}

/** The context of a build: the body's tar, or what `remote` names. */
async function contextOf(exchange: Exchange, parameters: BuildParameters): Promise<OpenContext> {
  const { remote } = parameters;
  const close = async (): Promise<void> => await Promise.resolve();
  if (remote === sessionContext && parameters.version === "2") {
    await readBody(exchange);
    return { source: { kind: "local", name: "context" }, close };
  }
  if (remote !== "" && remote !== sessionContext) {
    await readBody(exchange);
    const kind = isGitUrl(remote) ? "git" : "http";
    return { source: { kind, url: remote }, close };
  }
  const folder = await exchange.backend.builds.unpackContext(
    Readable.toWeb(exchange.request) as unknown as ReadableStream<Uint8Array>,
    { signal: exchange.signal },
  );
  return {
    source: { kind: "folder", path: folder.path },
    close: async () => await folder[Symbol.asyncDispose](),
  };
}

/** Docker's rule for what is a repository and not a file. @see moby/build/urlutil */
function isGitUrl(url: string): boolean {
  if (/^https?:\/\//.test(url)) return /\.git(?:#.+)?$/.test(url);
  return ["git://", "github.com/", "git@"].some((start) => url.startsWith(start));
}

async function runBuild(exchange: Exchange, build: AskedBuild): Promise<void> {
  const { parameters } = build;
  let send: ((value: unknown) => void) | undefined;
  const say = (value: unknown): void => {
    send ??= beginJsonLines(exchange);
    send(value);
  };
  const progress = (event: BuildEvent): void => {
    if (event.kind === "classic" && !parameters.isQuiet) say({ stream: event.text });
  };
  try {
    const request = requestOf(exchange, { ...build, progress });
    const result = await exchange.backend.builds.build(request);
    conclude(result, { parameters, names: build.names, say });
  } catch (error) {
    // Docker: that a base image cannot be had is told as the failure of a step, seen in 28.5. By that
    // its SDKs tell a build that failed from a request that was wrong.
    const isOfStep = error instanceof EngineError && error.details["isOfStep"] === true;
    if (send === undefined && !parameters.isQuiet && !isOfStep) throw error;
    say(failureOf(error));
  }
  exchange.response.end();
}

function conclude(
  result: BuildResult,
  how: {
    readonly parameters: BuildParameters;
    readonly names: readonly string[];
    readonly say: (value: unknown) => void;
  },
): void {
  const { imageId } = result;
  if (imageId === undefined) return;
  if (how.parameters.isQuiet) {
    how.say({ stream: `${imageId}\n` });
    return;
  }
  how.say({ aux: { ID: imageId } });
  const shown = imageId.replace(/^sha256:/, "").slice(0, shownIdLength);
  how.say({ stream: `Successfully built ${shown}\n` });
  for (const name of how.names) how.say({ stream: `Successfully tagged ${name}\n` });
}

/** A failure as the classic builder tells it. */
function failureOf(error: unknown): object {
  const details = error instanceof EngineError ? error.details : {};
  const { exitCode: code, command } = details;
  if (typeof code !== "number" || typeof command !== "string") {
    const message = messageOf(error);
    return { errorDetail: { message }, error: message };
  }
  const message = `The command '${command}' returned a non-zero code: ${code}`;
  return { errorDetail: { code, message }, error: message };
}
