/** What the command line adds to a refusal: what may have been meant. */
import type { Transport } from "../../client/transport.ts";
import { EngineError, isKind } from "../../lib/errors.ts";

const noSuchImage = /^No such image: (\S+)$/;
/** An image that a container is made of is fetched when it is missing: nothing to hint at yet. */
const pulledBy = "POST /containers/create";

/** A transport whose refusals name the images that are nearest to one that is not there. */
export function withHints(transport: Transport): Transport {
  const attempt = async <T>(target: string, call: () => Promise<T>): Promise<T> => {
    try {
      return await call();
    } catch (error) {
      throw target === pulledBy ? error : await hinted(transport, error);
    }
  };
  return {
    endpoint: transport.endpoint,
    get version() {
      return transport.version;
    },
    json: (target, options) => attempt(target, () => transport.json(target, options)),
    text: (target, options) => attempt(target, () => transport.text(target, options)),
    send: (target, options) => attempt(target, () => transport.send(target, options)),
    stream: (target, options) => attempt(target, () => transport.stream(target, options)),
    hijack: (target, options) => attempt(target, () => transport.hijack(target, options)),
  };
}

async function hinted(transport: Transport, error: unknown): Promise<unknown> {
  if (!isKind(error, "not-found")) return error;
  const wanted = noSuchImage.exec(error.message)?.[1];
  return wanted === undefined ? error : await withNearestImage(transport, { error, wanted });
}

/** A refusal for want of an image, with the one that may have been meant. */
export async function withNearestImage(
  transport: Transport,
  { error, wanted }: { readonly error: EngineError; readonly wanted: string },
): Promise<EngineError> {
  const [{ listImages }, { suggest }] = await Promise.all([
    import("../../client/images.ts"),
    import("./suggest.ts"),
  ]);
  const images = await listImages(transport).catch(() => []);
  const names = images.flatMap((image) => image.RepoTags ?? []).map(withoutLatest);
  const [nearest] = suggest(withoutLatest(wanted), names);
  if (nearest === undefined) return error;
  return new EngineError(error.kind, `${error.message} (did you mean ${nearest}?)`, {
    cause: error,
    details: error.details,
  });
}

function withoutLatest(name: string): string {
  return name.replace(/:latest$/, "");
}
