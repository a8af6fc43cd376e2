import { EngineError, messageOf } from "../../lib/errors.ts";
import { parseDigest } from "../../oci/digest.ts";
import type { Platform } from "../../oci/platform.ts";
import { fetchGit, type GitClient } from "./_git-agent.ts";
import { makeStep } from "../graph/make-step.ts";
import type { VertexProgress } from "../progress/progress.ts";
import { parseContextUrl } from "../source/context-url.ts";
import type { GitFolder, HttpFile, Sources } from "../source/source.ts";
import type { Step } from "../step.ts";

/** A source of ADD that is fetched. */
export interface RemoteSource {
  readonly url: string;
  readonly checksum?: string;
  readonly keepsGitDir: boolean;
  readonly platform: Platform;
  readonly sources: Sources;
  readonly client: GitClient;
  readonly signal: AbortSignal;
  /** Takes the folder over, until the build is done. */
  readonly keep: (folder: GitFolder | HttpFile) => void;
}

/** The step that fetches a source of ADD. */
export function remoteStep(source: RemoteSource): { readonly step: Step; readonly isGit: boolean } {
  const { url, checksum, keepsGitDir, platform } = source;
  const parsed = parseContextUrl(url);
  if (parsed === undefined) throw new EngineError("internal", "the source of ADD is no URL");
  const step = makeStep({
    action: {
      kind: "context",
      context: {
        id: `remote ${url} ${checksum ?? ""} ${keepsGitDir}`,
        open: async ({ vertex }) => ({ path: await open(source, { parsed, vertex }) }),
      },
    },
    name: url,
    description: url,
    reads: [],
    isCacheIgnored: false,
    platform,
  });
  return { step, isGit: parsed.kind === "git" };
}

async function open(
  { sources, client, checksum, keepsGitDir, signal, keep }: RemoteSource,
  how: {
    readonly parsed: NonNullable<ReturnType<typeof parseContextUrl>>;
    readonly vertex: VertexProgress;
  },
): Promise<string> {
  const { parsed, vertex } = how;
  const secret = async (id: string): Promise<Uint8Array | undefined> => await client.secret(id);
  const fetched =
    parsed.kind === "git"
      ? fetchGit(
          { sources, client },
          {
            source: checksum === undefined ? parsed : { ...parsed, checksum },
            keepsGitDir,
            signal,
          },
        )
      : sources.fetchHttp({
          url: parsed.url,
          ...(checksum === undefined ? {} : { checksum: parseDigest(checksum) }),
          secret,
          signal,
          onProgress: (current, total = 0) => vertex.status({ id: "downloading", current, total }),
        });
  const folder = await fetched.catch((error: unknown) => {
    if (!messageOf(error).startsWith("invalid response status")) throw error;
    const message = `failed to load cache key: ${messageOf(error)}`;
    throw new EngineError("not-found", message, { cause: error });
  });
  keep(folder);
  return folder.path;
}
