/** The client's ssh agent for repositories that are reached by ssh. */
import type { BuildClient } from "../build-service.ts";
import type { GitFolder, GitRequest, GitUrl, Sources } from "../source/source.ts";

/** The agent's ID unless a build says another. BuildKit's. */
const agentId = "default";

/** What a fetch asks of its build's client. */
export type GitClient = Pick<BuildClient, "secret" | "sshAgent">;

/** Fetches a repository, with the client's agent where its remote is reached by ssh. */
export async function fetchGit(
  of: { readonly sources: Pick<Sources, "fetchGit">; readonly client: GitClient },
  request: Omit<GitRequest, "sshAgentPath" | "secret">,
): Promise<GitFolder> {
  const { sources, client } = of;
  const secret = async (id: string): Promise<Uint8Array | undefined> => await client.secret(id);
  const agent = isSsh(request.source) ? await client.sshAgent(agentId) : undefined;
  try {
    return await sources.fetchGit({
      ...request,
      secret,
      ...(agent === undefined ? {} : { sshAgentPath: agent.path }),
    });
  } finally {
    await agent?.[Symbol.asyncDispose]();
  }
}

/** `ssh://host/path`, `user@host:path`. */
function isSsh({ remote }: GitUrl): boolean {
  return remote.startsWith("ssh://") || !/^[a-z]+:\/\//.test(remote);
}
