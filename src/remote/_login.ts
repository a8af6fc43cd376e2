import { EngineError, isKind } from "../lib/errors.ts";
import { shownUrl } from "./transport/connection-failure.ts";
import type { RegistryReach } from "./session/registry-reach.ts";
import type { RegistryCall } from "./registry-client.ts";

/** The host in what `docker login` sends: a name, a URL, or Hub's old address. */
export function loginHost(serverAddress: string): string {
  const text = serverAddress.trim();
  if (text === "") return "docker.io";
  const bare = text.replace(/^https?:\/\//i, "").split("/")[0] ?? "";
  if (!/^(?:\w[\w.-]*|\[[\da-f:]+\])(?::\d{1,5})?$/i.test(bare)) {
    throw new EngineError("invalid-argument", `invalid registry address ${JSON.stringify(text)}`);
  }
  return bare;
}

/**
 * Checks credentials against a registry.
 *
 * @throws unauthorized in Docker's words; unavailable when nobody answers
 */
export async function login(
  reach: RegistryReach,
  options: { readonly host: string; readonly call: RegistryCall },
): Promise<{ readonly identityToken?: string }> {
  const { credentials = {}, signal } = options.call;
  const session = await reach.openSession(loginHost(options.host), signal);
  const token = await session.login(credentials, signal);
  const answer = await session
    .send({ method: "GET", path: "v2/", scopes: [], credentials, signal })
    .catch((error: unknown) => {
      const status = isKind(error) ? error.details["status"] : undefined;
      if (typeof status !== "number") throw error;
      const url = shownUrl(new URL("v2/", session.endpoint.url));
      const name = status === 401 ? "Unauthorized" : status === 403 ? "Forbidden" : "";
      throw new EngineError(
        status === 401 || status === 403 ? "unauthorized" : "internal",
        `login attempt to ${url} failed with status: ${`${status} ${name}`.trim()}`,
        { cause: error },
      );
    });
  answer.close();
  const { refreshToken } = token ?? {};
  return refreshToken === undefined ? {} : { identityToken: refreshToken };
}
