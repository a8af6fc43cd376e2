import { EngineError } from "../lib/errors.ts";
import type { Sources } from "./source/source.ts";

/** Sources that fetch nothing. */
export function noSources(): Sources {
  const refuse = async (): Promise<never> =>
    await Promise.reject(new EngineError("not-implemented", "nothing is fetched from URLs yet"));
  return {
    resolveGit: refuse,
    fetchGit: refuse,
    fetchHttp: refuse,
    fetchHttpContext: refuse,
    prune: async () => await Promise.resolve({ spaceReclaimedBytes: 0 }),
    [Symbol.asyncDispose]: async () => await Promise.resolve(),
  };
}
