/** The ways to ask an engine for builds. */
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { clientNames, type ClientName } from "./clients.ts";
import type { Engine } from "./engine.ts";

const plugins = process.env["TUG_PEER_CONFIG"];
const hasBuildx = plugins !== undefined && existsSync(join(plugins, "cli-plugins/docker-buildx"));

/** A way to ask for builds. */
export interface Builder {
  readonly name: string;
  readonly cli: ClientName;
  /** Whether it speaks BuildKit's protocol. */
  readonly isBuildkit: boolean;
  readonly env: Readonly<Record<string, string>>;
}

/** The builders that are here; a missing one is said once. */
export const builders: readonly Builder[] = ((): readonly Builder[] => {
  if (!hasBuildx) {
    console.warn(
      "docker builds with the classic call alone; with TUG_PEER_CONFIG=/folder that has " +
        "cli-plugins/docker-buildx, by BuildKit's protocol too",
    );
  }
  const all: readonly Builder[] = [
    { name: "docker, classic", cli: "docker", isBuildkit: false, env: { DOCKER_BUILDKIT: "0" } },
    { name: "docker with buildx", cli: "docker", isBuildkit: true, env: { DOCKER_BUILDKIT: "1" } },
    { name: "tug", cli: "tug", isBuildkit: true, env: {} },
  ];
  return all.filter(
    ({ cli, isBuildkit }) =>
      clientNames.includes(cli) && (cli === "tug" || !isBuildkit || hasBuildx),
  );
})();

/** Gives the clients of an engine docker's plugins. */
export function linkPlugins(engine: Engine): void {
  if (plugins === undefined || !hasBuildx) return;
  const home = join(engine.folder, "client");
  mkdirSync(home, { recursive: true });
  symlinkSync(join(plugins, "cli-plugins"), join(home, "cli-plugins"));
}
