/**
 * The table of all commands. Nothing is loaded before it is called; help, completion and
 * "did you mean" are made from this.
 *
 * Every call of the program makes the table, so it is made of plain loops: the first `flatMap` of a
 * process alone takes 0.5 ms.
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
  /** Loads the command's file. */
  load(): Promise<{ readonly command: Command }>;
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
  entry("builder du", "Show what the build cache takes of the disk", {
    load: () => import("./build/du.ts"),
  }),
  entry("builder prune", "Remove build cache", { load: () => import("./build/prune.ts") }),
  entry("image build, build, builder build", "Build an image from a Dockerfile", {
    load: () => import("./build/build.ts"),
  }),
  entry(
    "container attach, attach",
    "Attach local standard input, output, and error streams to a running container",
    { load: () => import("./container/attach.ts") },
  ),
  entry("container commit, commit", "Create a new image from a container's changes", {
    load: () => import("./container/commit.ts"),
  }),
  entry("container create, create", "Create a new container", {
    load: () => import("./container/create.ts"),
  }),
  entry(
    "container diff, diff",
    "Inspect changes to files or directories on a container's filesystem",
    { load: () => import("./container/diff.ts") },
  ),
  entry("container exec, exec", "Execute a command in a running container", {
    load: () => import("./container/exec.ts"),
  }),
  entry("container export, export", "Export a container's filesystem as a tar archive", {
    load: () => import("./container/export.ts"),
  }),
  entry("container inspect", "Display detailed information on one or more containers", {
    load: () => import("./container/inspect.ts"),
  }),
  entry("container kill, kill", "Kill one or more running containers", {
    load: () => import("./container/kill.ts"),
  }),
  entry("container logs, logs", "Fetch the logs of a container", {
    load: () => import("./container/logs.ts"),
  }),
  entry("container ls, container list, container ps, ps", "List containers", {
    load: () => import("./container/ls.ts"),
  }),
  entry("container pause, pause", "Pause all processes within one or more containers", {
    load: () => import("./container/pause.ts"),
  }),
  entry("container port, port", "List port mappings or a specific mapping for the container", {
    load: () => import("./container/port.ts"),
  }),
  entry("container prune", "Remove all stopped containers", {
    load: () => import("./container/prune.ts"),
  }),
  entry("container rename, rename", "Rename a container", {
    load: () => import("./container/rename.ts"),
  }),
  entry("container restart, restart", "Restart one or more containers", {
    load: () => import("./container/restart.ts"),
  }),
  entry("container rm, container remove, rm", "Remove one or more containers", {
    load: () => import("./container/rm.ts"),
  }),
  entry("container run, run", "Create and run a new container from an image", {
    load: () => import("./container/run.ts"),
  }),
  entry("container start, start", "Start one or more stopped containers", {
    load: () => import("./container/start.ts"),
  }),
  entry("container stop, stop", "Stop one or more running containers", {
    load: () => import("./container/stop.ts"),
  }),
  entry("container top, top", "Display the running processes of a container", {
    load: () => import("./container/top.ts"),
  }),
  entry("container unpause, unpause", "Unpause all processes within one or more containers", {
    load: () => import("./container/unpause.ts"),
  }),
  entry(
    "container wait, wait",
    "Block until one or more containers stop, then print their exit codes",
    { load: () => import("./container/wait.ts") },
  ),
  entry("image generate-key-pair", "Generate a key pair to sign images with", {
    load: () => import("./image/generate-key-pair.ts"),
  }),
  entry("image history, history", "Show the history of an image", {
    load: () => import("./image/history.ts"),
  }),
  entry("image import, import", "Import the contents from a tarball to create a filesystem image", {
    load: () => import("./image/import.ts"),
  }),
  entry("image inspect", "Display detailed information on one or more images", {
    load: () => import("./image/inspect.ts"),
  }),
  entry("image load, load", "Load an image from a tar archive or STDIN", {
    load: () => import("./image/load.ts"),
  }),
  entry("image ls, image list, images", "List images", { load: () => import("./image/ls.ts") }),
  entry("image prune", "Remove unused images", { load: () => import("./image/prune.ts") }),
  entry("image pull, pull", "Download an image from a registry", {
    load: () => import("./registry/pull.ts"),
  }),
  entry("image push, push", "Upload an image to a registry", {
    load: () => import("./registry/push.ts"),
  }),
  entry("image rm, image remove, rmi", "Remove one or more images", {
    load: () => import("./image/rm.ts"),
  }),
  entry(
    "image save, save",
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    { load: () => import("./image/save.ts") },
  ),
  entry("image sign", "Sign one or more images", { load: () => import("./image/sign.ts") }),
  entry("image tag, tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE", {
    load: () => import("./image/tag.ts"),
  }),
  entry("image tags", "List the tags of a repository in its registry", {
    load: () => import("./image/tags.ts"),
  }),
  entry("image verify", "Verify the signatures of one or more images", {
    load: () => import("./image/verify.ts"),
  }),
  entry("manifest annotate", "Add additional information to a local image manifest", {
    load: () => import("./manifest/annotate.ts"),
  }),
  entry(
    "manifest create",
    "Create a local manifest list for annotating and pushing to a registry",
    { load: () => import("./manifest/create.ts") },
  ),
  entry("manifest inspect", "Display an image manifest, or manifest list", {
    load: () => import("./manifest/inspect.ts"),
  }),
  entry("manifest push", "Push a manifest list to a repository", {
    load: () => import("./manifest/push.ts"),
  }),
  entry("manifest rm", "Delete one or more manifest lists from local storage", {
    load: () => import("./manifest/rm.ts"),
  }),
  entry("login", "Authenticate to a registry", { load: () => import("./registry/login.ts") }),
  entry("logout", "Log out from a registry", { load: () => import("./registry/logout.ts") }),
  entry("search", "Search a registry for images", { load: () => import("./registry/search.ts") }),
  entry("volume create", "Create a volume", { load: () => import("./volume/create.ts") }),
  entry("volume inspect", "Display detailed information on one or more volumes", {
    load: () => import("./volume/inspect.ts"),
  }),
  entry("volume ls, volume list", "List volumes", { load: () => import("./volume/ls.ts") }),
  entry("volume prune", "Remove unused local volumes", { load: () => import("./volume/prune.ts") }),
  entry("volume rm, volume remove", "Remove one or more volumes", {
    load: () => import("./volume/rm.ts"),
  }),
  entry("network inspect", "Display detailed information on one or more networks", {
    load: () => import("./network/inspect.ts"),
  }),
  entry("network ls, network list", "List networks", { load: () => import("./network/ls.ts") }),
  entry("system dial-stdio", "Proxy the stdio stream to the daemon connection", {
    isHidden: true,
    load: () => import("./system/dial-stdio.ts"),
  }),
  entry("system df", "Show what images, containers, volumes and build cache take on the disk", {
    load: () => import("./system/df.ts"),
  }),
  entry("system prune", "Remove unused data", { load: () => import("./system/prune.ts") }),
  entry("system events, events", "Get real time events from the server", {
    load: () => import("./system/events.ts"),
  }),
  entry("system info, info", "Display system-wide information", {
    load: () => import("./system/info.ts"),
  }),
  entry("version", "Show the version information", { load: () => import("./system/version.ts") }),
  entry("inspect", "Return low-level information on objects", {
    load: () => import("./system/inspect.ts"),
  }),
  entry("context create", "Create a context", { load: () => import("./context/create.ts") }),
  entry("context inspect", "Display detailed information on one or more contexts", {
    load: () => import("./context/inspect.ts"),
  }),
  entry("context ls, context list", "List contexts", { load: () => import("./context/ls.ts") }),
  entry("context rm, context remove", "Remove one or more contexts", {
    load: () => import("./context/rm.ts"),
  }),
  entry("context show", "Print the name of the current context", {
    load: () => import("./context/show.ts"),
  }),
  entry("context update", "Update a context", { load: () => import("./context/update.ts") }),
  entry("context use", "Set the current context", { load: () => import("./context/use.ts") }),
  entry("completion", "Generate the autocompletion script for the specified shell", {
    load: () => import("./completion/completion.ts"),
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

const byName = new Map<string, CommandEntry>();
for (const one of commands) for (const name of one.names) byName.set(name, one);

function entry(
  names: string,
  help: string,
  rest: Pick<CommandEntry, "load" | "isHidden">,
): CommandEntry {
  return { names: names.split(", "), help, since: "0.1.0", ...rest };
}
