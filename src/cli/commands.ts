/**
 * The table of all commands. Nothing is loaded before it is called; help, completion and
 * "did you mean" are made from this.
 */
import type { Command } from "./command.ts";

/** One command of the table. */
export interface CommandEntry {
  /** All names it is called by, the full one first: `container ls`, `container list`, `ps`. */
  readonly names: readonly string[];
  /** One line of help. */
  readonly help: string;
  /** First version of Tug that has it. */
  readonly since: string;
  readonly isHidden?: boolean;
  load(): Promise<Command>;
}

/** A noun with commands of its own. */
export interface CommandGroup {
  readonly name: string;
  readonly help: string;
}

/** Groups, in the order of help. */
export const commandGroups: readonly CommandGroup[] = [
  { name: "builder", help: "Manage builds" },
  { name: "container", help: "Manage containers" },
  { name: "context", help: "Manage contexts" },
  { name: "image", help: "Manage images" },
  { name: "manifest", help: "Manage image manifests and manifest lists" },
  { name: "network", help: "Manage networks" },
  { name: "system", help: "Manage the engine" },
  { name: "volume", help: "Manage volumes" },
];

/** All commands. */
export const commands: readonly CommandEntry[] = [
  entry("builder du", {
    help: "Show what the build cache takes of the disk",
    load: async () => (await import("./build/du.ts")).command,
  }),
  entry("builder prune", {
    help: "Remove build cache",
    load: async () => (await import("./build/prune.ts")).command,
  }),
  entry("image build, build, builder build", {
    help: "Build an image from a Dockerfile",
    load: async () => (await import("./build/build.ts")).command,
  }),
  entry("container attach, attach", {
    help: "Attach local standard input, output, and error streams to a running container",
    load: async () => (await import("./container/attach.ts")).command,
  }),
  entry("container commit, commit", {
    help: "Create a new image from a container's changes",
    load: async () => (await import("./container/commit.ts")).command,
  }),
  entry("container create, create", {
    help: "Create a new container",
    load: async () => (await import("./container/create.ts")).command,
  }),
  entry("container diff, diff", {
    help: "Inspect changes to files or directories on a container's filesystem",
    load: async () => (await import("./container/diff.ts")).command,
  }),
  entry("container exec, exec", {
    help: "Execute a command in a running container",
    load: async () => (await import("./container/exec.ts")).command,
  }),
  entry("container export, export", {
    help: "Export a container's filesystem as a tar archive",
    load: async () => (await import("./container/export.ts")).command,
  }),
  entry("container inspect", {
    help: "Display detailed information on one or more containers",
    load: async () => (await import("./container/inspect.ts")).command,
  }),
  entry("container kill, kill", {
    help: "Kill one or more running containers",
    load: async () => (await import("./container/kill.ts")).command,
  }),
  entry("container logs, logs", {
    help: "Fetch the logs of a container",
    load: async () => (await import("./container/logs.ts")).command,
  }),
  entry("container ls, container list, container ps, ps", {
    help: "List containers",
    load: async () => (await import("./container/ls.ts")).command,
  }),
  entry("container pause, pause", {
    help: "Pause all processes within one or more containers",
    load: async () => (await import("./container/pause.ts")).command,
  }),
  entry("container port, port", {
    help: "List port mappings or a specific mapping for the container",
    load: async () => (await import("./container/port.ts")).command,
  }),
  entry("container prune", {
    help: "Remove all stopped containers",
    load: async () => (await import("./container/prune.ts")).command,
  }),
  entry("container rename, rename", {
    help: "Rename a container",
    load: async () => (await import("./container/rename.ts")).command,
  }),
  entry("container restart, restart", {
    help: "Restart one or more containers",
    load: async () => (await import("./container/restart.ts")).command,
  }),
  entry("container rm, container remove, rm", {
    help: "Remove one or more containers",
    load: async () => (await import("./container/rm.ts")).command,
  }),
  entry("container run, run", {
    help: "Create and run a new container from an image",
    load: async () => (await import("./container/run.ts")).command,
  }),
  entry("container start, start", {
    help: "Start one or more stopped containers",
    load: async () => (await import("./container/start.ts")).command,
  }),
  entry("container stop, stop", {
    help: "Stop one or more running containers",
    load: async () => (await import("./container/stop.ts")).command,
  }),
  entry("container top, top", {
    help: "Display the running processes of a container",
    load: async () => (await import("./container/top.ts")).command,
  }),
  entry("container unpause, unpause", {
    help: "Unpause all processes within one or more containers",
    load: async () => (await import("./container/unpause.ts")).command,
  }),
  entry("container wait, wait", {
    help: "Block until one or more containers stop, then print their exit codes",
    load: async () => (await import("./container/wait.ts")).command,
  }),
  entry("image generate-key-pair", {
    help: "Generate a key pair to sign images with",
    load: async () => (await import("./image/generate-key-pair.ts")).command,
  }),
  entry("image history, history", {
    help: "Show the history of an image",
    load: async () => (await import("./image/history.ts")).command,
  }),
  entry("image import, import", {
    help: "Import the contents from a tarball to create a filesystem image",
    load: async () => (await import("./image/import.ts")).command,
  }),
  entry("image inspect", {
    help: "Display detailed information on one or more images",
    load: async () => (await import("./image/inspect.ts")).command,
  }),
  entry("image load, load", {
    help: "Load an image from a tar archive or STDIN",
    load: async () => (await import("./image/load.ts")).command,
  }),
  entry("image ls, image list, images", {
    help: "List images",
    load: async () => (await import("./image/ls.ts")).command,
  }),
  entry("image prune", {
    help: "Remove unused images",
    load: async () => (await import("./image/prune.ts")).command,
  }),
  entry("image pull, pull", {
    help: "Download an image from a registry",
    load: async () => (await import("./registry/pull.ts")).command,
  }),
  entry("image push, push", {
    help: "Upload an image to a registry",
    load: async () => (await import("./registry/push.ts")).command,
  }),
  entry("image rm, image remove, rmi", {
    help: "Remove one or more images",
    load: async () => (await import("./image/rm.ts")).command,
  }),
  entry("image save, save", {
    help: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    load: async () => (await import("./image/save.ts")).command,
  }),
  entry("image sign", {
    help: "Sign one or more images",
    load: async () => (await import("./image/sign.ts")).command,
  }),
  entry("image tag, tag", {
    help: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    load: async () => (await import("./image/tag.ts")).command,
  }),
  entry("image tags", {
    help: "List the tags of a repository in its registry",
    load: async () => (await import("./image/tags.ts")).command,
  }),
  entry("image verify", {
    help: "Verify the signatures of one or more images",
    load: async () => (await import("./image/verify.ts")).command,
  }),
  entry("manifest annotate", {
    help: "Add additional information to a local image manifest",
    load: async () => (await import("./manifest/annotate.ts")).command,
  }),
  entry("manifest create", {
    help: "Create a local manifest list for annotating and pushing to a registry",
    load: async () => (await import("./manifest/create.ts")).command,
  }),
  entry("manifest inspect", {
    help: "Display an image manifest, or manifest list",
    load: async () => (await import("./manifest/inspect.ts")).command,
  }),
  entry("manifest push", {
    help: "Push a manifest list to a repository",
    load: async () => (await import("./manifest/push.ts")).command,
  }),
  entry("manifest rm", {
    help: "Delete one or more manifest lists from local storage",
    load: async () => (await import("./manifest/rm.ts")).command,
  }),
  entry("login", {
    help: "Authenticate to a registry",
    load: async () => (await import("./registry/login.ts")).command,
  }),
  entry("logout", {
    help: "Log out from a registry",
    load: async () => (await import("./registry/logout.ts")).command,
  }),
  entry("search", {
    help: "Search a registry for images",
    load: async () => (await import("./registry/search.ts")).command,
  }),
  entry("volume create", {
    help: "Create a volume",
    load: async () => (await import("./volume/create.ts")).command,
  }),
  entry("volume inspect", {
    help: "Display detailed information on one or more volumes",
    load: async () => (await import("./volume/inspect.ts")).command,
  }),
  entry("volume ls, volume list", {
    help: "List volumes",
    load: async () => (await import("./volume/ls.ts")).command,
  }),
  entry("volume prune", {
    help: "Remove unused local volumes",
    load: async () => (await import("./volume/prune.ts")).command,
  }),
  entry("volume rm, volume remove", {
    help: "Remove one or more volumes",
    load: async () => (await import("./volume/rm.ts")).command,
  }),
  entry("network inspect", {
    help: "Display detailed information on one or more networks",
    load: async () => (await import("./network/inspect.ts")).command,
  }),
  entry("network ls, network list", {
    help: "List networks",
    load: async () => (await import("./network/ls.ts")).command,
  }),
  entry("system dial-stdio", {
    help: "Proxy the stdio stream to the daemon connection",
    isHidden: true,
    load: async () => (await import("./system/dial-stdio.ts")).command,
  }),
  entry("system df", {
    help: "Show what images, containers, volumes and build cache take on the disk",
    load: async () => (await import("./system/df.ts")).command,
  }),
  entry("system prune", {
    help: "Remove unused data",
    load: async () => (await import("./system/prune.ts")).command,
  }),
  entry("system events, events", {
    help: "Get real time events from the server",
    load: async () => (await import("./system/events.ts")).command,
  }),
  entry("system info, info", {
    help: "Display system-wide information",
    load: async () => (await import("./system/info.ts")).command,
  }),
  entry("version", {
    help: "Show the version information",
    load: async () => (await import("./system/version.ts")).command,
  }),
  entry("inspect", {
    help: "Return low-level information on objects",
    load: async () => (await import("./system/inspect.ts")).command,
  }),
  entry("context create", {
    help: "Create a context",
    load: async () => (await import("./context/create.ts")).command,
  }),
  entry("context inspect", {
    help: "Display detailed information on one or more contexts",
    load: async () => (await import("./context/inspect.ts")).command,
  }),
  entry("context ls, context list", {
    help: "List contexts",
    load: async () => (await import("./context/ls.ts")).command,
  }),
  entry("context rm, context remove", {
    help: "Remove one or more contexts",
    load: async () => (await import("./context/rm.ts")).command,
  }),
  entry("context show", {
    help: "Print the name of the current context",
    load: async () => (await import("./context/show.ts")).command,
  }),
  entry("context update", {
    help: "Update a context",
    load: async () => (await import("./context/update.ts")).command,
  }),
  entry("context use", {
    help: "Set the current context",
    load: async () => (await import("./context/use.ts")).command,
  }),
  entry("completion", {
    help: "Generate the autocompletion script for the specified shell",
    load: async () => (await import("./completion/completion.ts")).command,
  }),
];

/** Docker's commands that are not there yet, answered by name. */
export const plannedCommands: readonly string[] = [
  ...["bake", "buildx", "checkpoint", "compose", "config", "cp"],
  ...["debug", "init", "model", "node", "plugin"],
  ...["scout", "secret", "service", "stack", "stats", "swarm", "trust"],
  ...["update", "container cp"],
  ...["container stats", "container update"],
  ...["network connect", "network create", "network disconnect", "network prune", "network rm"],
  ...["volume update", "context export", "context import"],
];

/** What a command line names. */
export type Found =
  | {
      readonly kind: "command";
      readonly entry: CommandEntry;
      /** The name it was called by. */
      readonly name: string;
      readonly rest: readonly string[];
    }
  | { readonly kind: "group"; readonly group: CommandGroup; readonly rest: readonly string[] }
  | { readonly kind: "planned" | "unknown"; readonly name: string };

/** Finds the command that `words` begin with. */
export function findCommand(words: readonly string[]): Found {
  const [first = "", second = ""] = words;
  const group = commandGroups.find((one) => one.name === first);
  const name = group === undefined ? first : `${first} ${second}`;
  const found = byName.get(name);
  if (found !== undefined) {
    return { kind: "command", entry: found, name, rest: words.slice(group === undefined ? 1 : 2) };
  }
  if (plannedCommands.includes(name)) return { kind: "planned", name };
  if (group === undefined) return { kind: "unknown", name };
  if (second === "" || second.startsWith("-")) {
    return { kind: "group", group, rest: words.slice(1) };
  }
  return { kind: "unknown", name };
}

const byName: ReadonlyMap<string, CommandEntry> = new Map(
  commands.flatMap((one) => one.names.map((name) => [name, one] as const)),
);

function entry(
  names: string,
  rest: Pick<CommandEntry, "help" | "load"> & { readonly isHidden?: boolean },
): CommandEntry {
  return { names: names.split(", "), since: "0.1.0", ...rest };
}
