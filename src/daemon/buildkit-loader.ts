import type { Buildkit, BuildkitOptions } from "../build/control/buildkit.ts";

/** BuildKit's protocol, not loaded yet. */
export interface BuildkitLoader {
  /** Loads and opens it at the first call. */
  readonly load: () => Promise<Buildkit>;
  /** Closes it, if anybody has used it. */
  close(): Promise<void>;
}

/** Makes a loader: who never builds so does not pay for it. */
export function createBuildkitLoader(options: BuildkitOptions): BuildkitLoader {
  let opened: Promise<Buildkit> | undefined;
  const open = async (): Promise<Buildkit> => {
    const { createBuildkit } = await import("../build/control/buildkit.ts");
    const buildkit = createBuildkit(options);
    await buildkit.recover();
    return buildkit;
  };
  return {
    load: async () => {
      opened ??= open();
      return await opened;
    },
    close: async () => {
      (await opened?.catch(() => undefined))?.close();
    },
  };
}
