/** Builds of `POST /build` whose client chose BuildKit: told as its progress. @see Engine API v1.39, ImageBuild */
import type { BuildParameters } from "../../api/request/decode-build.ts";
import type { BuildRequest, BuildResult, ContextSource } from "../../build/build-service.ts";
import { EngineError, messageOf } from "../../lib/errors.ts";
import { beginJsonLines, type Exchange } from "../exchange.ts";
import { type AskedBuild, requestOf } from "./_build-request.ts";

/** The value of `remote` that says that the context comes by the session. */
export const sessionContext = "client-session";

/** The value of `remote` that says that the context comes by another request. */
const uploadContext = "upload-request";

/**
 * Builds, and answers with lines of progress, the image's ID, or why it failed.
 *
 * @throws not-found when there is no such session
 */
export async function runTracedBuild(exchange: Exchange, build: AskedBuild): Promise<void> {
  const { parameters } = build;
  const buildkit = await exchange.backend.buildkit();
  const { session } = parameters;
  await using client =
    session === "" ? undefined : await buildkit.openClient(session, exchange.signal);
  const trace = buildkit.openTrace();
  const request: BuildRequest = {
    ...requestOf(exchange, {
      ...build,
      progress: (event) => trace.push(event),
      ...(client === undefined ? {} : { client }),
    }),
    ...(build.main.kind === "local" ? { dockerfileFrom: dockerfileFolder } : {}),
  };
  const say = beginJsonLines(exchange);
  const told = tell();
  try {
    const result = await exchange.backend.builds.build(request).finally(() => trace.end());
    await told;
    if (result.imageId !== undefined) say(imageLine(result.imageId, parameters));
  } catch (error) {
    await told;
    const message = messageOf(error);
    say({ errorDetail: { message }, error: message });
  }
  exchange.response.end();

  async function tell(): Promise<void> {
    for await (const aux of trace.read(exchange.signal)) {
      if (!parameters.isQuiet) say({ id: "moby.buildkit.trace", aux });
    }
  }
}

/** By this name a session has the Dockerfile, which may lie outside of the context. */
const dockerfileFolder: ContextSource = { kind: "local", name: "dockerfile" };

function imageLine(ID: NonNullable<BuildResult["imageId"]>, parameters: BuildParameters): object {
  return parameters.isQuiet ? { stream: `${ID}\n` } : { id: "moby.image.id", aux: { ID } };
}

/**
 * Refuses what is served at `/grpc` alone.
 *
 * @throws not-implemented for other outputs than an image, for a context that comes by another request
 */
export function checkTraced({ outputs, remote, buildId }: BuildParameters): void {
  if (remote === uploadContext || buildId.startsWith(`${uploadContext}:`)) {
    throw new EngineError(
      "not-implemented",
      "POST /build does not take the context of another request: unpack it, or update the client",
    );
  }
  if (outputs === "" || outputs === "null" || outputs === "[]") return;
  throw new EngineError(
    "not-implemented",
    "POST /build makes images and no other outputs: update the client, which builds at /grpc then",
  );
}
