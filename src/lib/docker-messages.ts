/**
 * Sentences of Docker Engine that clients match on, kept verbatim.
 *
 * Each function returns an error ready to throw, or the sentence alone where it becomes part of
 * another one. All were read from Docker 28.5 unless their comment says otherwise.
 */
import { EngineError } from "./errors.ts";
import { shortId } from "./id.ts";

/** Characters that a container name is made of, as Docker's sentence spells them. */
const nameCharacters = "[a-zA-Z0-9][a-zA-Z0-9_.-]";

// ── containers ──────────────────────────────────────────────────────────────────────────────

/** The container is unknown, by any of its names. */
export function noSuchContainer(name: string): EngineError {
  return new EngineError("not-found", `No such container: ${name}`);
}

/** An ID prefix fits several objects. */
export function ambiguousId(prefix: string): EngineError {
  return new EngineError("invalid-argument", `multiple IDs found with provided prefix: ${prefix}`);
}

/** The name belongs to another container. @param name with or without its leading slash */
export function containerNameInUse(name: string, containerId: string): EngineError {
  const shown = `/${name.replace(/^\//, "")}`;
  return new EngineError(
    "conflict",
    `Conflict. The container name "${shown}" is already in use by container "${containerId}". ` +
      "You have to remove (or rename) that container to be able to reuse that name.",
  );
}

/** The name has other characters, or is too short. */
export function invalidContainerName(name: string): EngineError {
  return new EngineError(
    "invalid-argument",
    `Invalid container name (${name}), only ${nameCharacters} are allowed`,
  );
}

/** Wraps what was wrong with the new name of a rename. */
export function renameFailed(cause: EngineError): EngineError {
  const message = `Error when allocating new name: ${cause.message}`;
  return new EngineError(cause.kind, message, { cause });
}

/** A rename without a name. */
export function emptyName(): EngineError {
  return new EngineError("invalid-argument", "Neither old nor new names may be empty");
}

/** A rename to the name it has. */
export function sameName(): EngineError {
  return new EngineError(
    "invalid-argument",
    "Renaming a container with the same name as its current name",
  );
}

/** Neither the request nor the image says what to run. */
export function noCommand(): EngineError {
  return new EngineError("invalid-argument", "no command specified");
}

/** A create body without a container configuration. */
export function emptyConfig(): EngineError {
  return new EngineError(
    "invalid-argument",
    "config cannot be empty in order to create a container",
  );
}

/** The container has no running task. */
export function containerNotRunning(containerId: string): EngineError {
  return new EngineError("conflict", `container ${containerId} is not running`);
}

/** Wraps why a kill did not happen. @param name as the caller gave it */
export function cannotKill(name: string, cause: EngineError): EngineError {
  const message = `cannot kill container: ${name}: ${cause.message}`;
  return new EngineError(cause.kind, message, { cause });
}

/** No signal has that name or number. */
export function invalidSignal(signal: string): EngineError {
  return new EngineError("invalid-argument", `invalid signal: ${signal}`);
}

/** A signal number out of the kernel's range. */
export function unsupportedSignal(signal: number): EngineError {
  return new EngineError("invalid-argument", `the linux daemon does not support signal ${signal}`);
}

/** A pause of a paused container. */
export function alreadyPaused(containerId: string): EngineError {
  return new EngineError("conflict", `Container ${containerId} is already paused`);
}

/** An unpause of a container that is not. // Docker: answers 500, seen in 28.5 */
export function notPaused(containerId: string): EngineError {
  return new EngineError("conflict", `Container ${containerId} is not paused`, {
    details: { httpStatus: 500 },
  });
}

/** A start of a paused container. */
export function cannotStartPaused(): EngineError {
  return new EngineError("conflict", "cannot start a paused container, try unpause instead");
}

/** A start of a container that is being removed or could not be. From moby's source, not seen. */
export function markedForRemoval(): EngineError {
  return new EngineError("conflict", "container is marked for removal and cannot be started");
}

/** An attach to a paused container. */
export function attachPaused(name: string): EngineError {
  return new EngineError(
    "conflict",
    `container ${name} is paused, unpause the container before attach`,
  );
}

/** A removal without force. @param name as the caller gave it */
export function cannotRemoveRunning(name: string): EngineError {
  return new EngineError(
    "conflict",
    `cannot remove container "${name}": container is running: ` +
      "stop the container before removing or force remove",
  );
}

/** A removal without force of a paused container. @param name as the caller gave it */
export function cannotRemovePaused(name: string): EngineError {
  return new EngineError(
    "conflict",
    `cannot remove container "${name}": container is paused and must be unpaused first`,
  );
}

/** Two removals at once. From moby's source, not seen. @param name as the caller gave it */
export function removalInProgress(name: string): EngineError {
  return new EngineError("conflict", `removal of container ${name} is already in progress`);
}

/** `wait` with another condition. */
export function invalidWaitCondition(condition: string): EngineError {
  return new EngineError("invalid-argument", `invalid condition: ${JSON.stringify(condition)}`);
}

/** `logs` with neither stdout nor stderr. */
export function noLogStream(): EngineError {
  return new EngineError("invalid-argument", "Bad parameters: you must choose at least one stream");
}

/** Detach keys that do not parse. */
export function invalidDetachKeys(keys: string): EngineError {
  return new EngineError("invalid-argument", `Invalid escape keys (${keys}) provided`);
}

/** The OCI runtime is not configured. */
export function unknownRuntime(name: string): EngineError {
  return new EngineError("invalid-argument", `unknown or invalid runtime name: ${name}`);
}

/** `AutoRemove` together with a restart policy. */
export function autoRemoveWithRestart(): EngineError {
  return new EngineError(
    "invalid-argument",
    "can't create 'AutoRemove' container with restart policy",
  );
}

/** A restart policy of another name. */
export function unknownRestartPolicy(name: string): EngineError {
  return new EngineError(
    "invalid-argument",
    `invalid restart policy: unknown policy '${name}'; ` +
      "use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
  );
}

/** A retry count where it has no meaning, or a negative one. */
export function invalidRetryCount(problem: "without-on-failure" | "negative"): EngineError {
  const text = problem === "negative" ? "cannot be negative" : "can only be used with 'on-failure'";
  return new EngineError("invalid-argument", `invalid restart policy: maximum retry count ${text}`);
}

/** An environment entry without a name. */
export function invalidEnvironment(entry: string): EngineError {
  return new EngineError("invalid-argument", `invalid environment variable: ${entry}`);
}

/** A working directory that is not absolute. */
export function invalidWorkingDir(path: string): EngineError {
  return new EngineError(
    "invalid-argument",
    `the working directory '${path}' is invalid, it needs to be an absolute path`,
  );
}

/** A capability that the kernel does not know. @param field CapAdd or CapDrop */
export function unknownCapability(field: "CapAdd" | "CapDrop", capability: string): EngineError {
  return new EngineError(
    "invalid-argument",
    `invalid ${field}: unknown capability: ${JSON.stringify(capability)}`,
  );
}

/** A security option that does not parse. `part` 1: no "=", 2: unknown key or value. */
export function invalidSecurityOpt(part: 1 | 2, option: string): EngineError {
  return new EngineError(
    "invalid-argument",
    `invalid --security-opt ${part}: ${JSON.stringify(option)}`,
  );
}

/** A namespace mode that does not parse. */
export function invalidNamespaceMode(
  namespace: "IPC" | "PID" | "UTS" | "cgroup namespace",
  mode: string,
): EngineError {
  return new EngineError("invalid-argument", `invalid ${namespace} mode: ${mode}`);
}

// ── exec ────────────────────────────────────────────────────────────────────────────────────

/** The exec is unknown. */
export function noSuchExec(id: string): EngineError {
  return new EngineError("not-found", `No such exec instance: ${id}`);
}

/** An exec without a command. */
export function noExecCommand(): EngineError {
  return new EngineError("invalid-argument", "No exec command specified");
}

/** An exec in a paused container. @param name as the caller gave it */
export function execPaused(name: string): EngineError {
  return new EngineError(
    "conflict",
    `Container ${name} is paused, unpause the container before exec`,
  );
}

/** A second start of an exec that runs. */
export function execAlreadyRunning(id: string): EngineError {
  return new EngineError("conflict", `exec command ${id} is already running`);
}

/** A second start of an exec that has ended. */
export function execAlreadyRun(id: string): EngineError {
  return new EngineError("conflict", `exec command ${id} has already run`);
}

// ── images ──────────────────────────────────────────────────────────────────────────────────

/** The image is unknown. @param name in familiar form, with its tag ("x:latest"), or an ID */
export function noSuchImage(name: string): EngineError {
  return new EngineError("not-found", `No such image: ${name}`);
}

/** The text is not an image reference. @param reason what Docker adds after a colon, if anything */
export function invalidReference(reason?: string): EngineError {
  const detail = reason === undefined ? "" : `: ${reason}`;
  return new EngineError("invalid-argument", `invalid reference format${detail}`);
}

/** The tag given on its own is none. */
export function invalidTag(): EngineError {
  return new EngineError("invalid-argument", "invalid tag format");
}

/** The image is there, for another platform. */
export function platformMismatch(
  name: string,
  platforms: { readonly found: string; readonly wanted: string },
): EngineError {
  return new EngineError(
    "not-found",
    `image with reference ${name} was found but its platform (${platforms.found}) ` +
      `does not match the specified platform (${platforms.wanted})`,
  );
}

/** The tag to remove is the last one and a container refers to the image; force helps. */
export function imageTagInUse(
  reference: string,
  use: { readonly containerId: string; readonly imageId: string },
): EngineError {
  return new EngineError(
    "conflict",
    `conflict: unable to remove repository reference "${reference}" (must force) - container ` +
      `${shortId(use.containerId)} is using its referenced image ${shortId(use.imageId)}`,
  );
}

/** The image of a running container; force does not help. */
export function imageInUseByRunning(imageId: string, containerId: string): EngineError {
  return new EngineError(
    "conflict",
    `conflict: unable to delete ${shortId(imageId)} (cannot be forced) - ` +
      `image is being used by running container ${shortId(containerId)}`,
  );
}

/** The image of a stopped container; force helps. */
export function imageInUseByStopped(imageId: string, containerId: string): EngineError {
  return new EngineError(
    "conflict",
    `conflict: unable to delete ${shortId(imageId)} (must be forced) - ` +
      `image is being used by stopped container ${shortId(containerId)}`,
  );
}

/** Other images were made from this one here; force does not help. */
export function imageHasChildren(imageId: string): EngineError {
  return new EngineError(
    "conflict",
    `conflict: unable to delete ${shortId(imageId)} (cannot be forced) - image has dependent child images`,
  );
}

/** The image has tags in several repositories; force helps. */
export function imageInSeveralRepositories(imageId: string): EngineError {
  return new EngineError(
    "conflict",
    `conflict: unable to delete ${shortId(imageId)} (must be forced) - ` +
      "image is referenced in multiple repositories",
  );
}

// ── volumes and mounts ──────────────────────────────────────────────────────────────────────

/** The volume is unknown. */
export function noSuchVolume(name: string): EngineError {
  return new EngineError("not-found", `get ${name}: no such volume`);
}

/** The volume belongs to containers. */
export function volumeInUse(name: string, containerIds: readonly string[]): EngineError {
  return new EngineError(
    "conflict",
    `remove ${name}: volume is in use - [${containerIds.join(", ")}]`,
  );
}

/** The name has other characters. */
export function invalidVolumeName(name: string): EngineError {
  return new EngineError(
    "invalid-argument",
    `create ${name}: ${JSON.stringify(name)} includes invalid characters for a local volume ` +
      `name, only "${nameCharacters}" are allowed. ` +
      "If you intended to pass a host directory, use absolute path",
  );
}

/** A name of one character. */
export function shortVolumeName(name: string): EngineError {
  return new EngineError(
    "invalid-argument",
    `create ${name}: volume name is too short, ` +
      "names should be at least two alphanumeric characters",
  );
}

/** No driver of that name. */
export function unknownVolumeDriver(name: string, driver: string): EngineError {
  return new EngineError(
    "not-found",
    `create ${name}: error looking up volume plugin ${driver}: plugin "${driver}" not found`,
  );
}

/** Prefixes what is wrong with a mount. */
export function invalidMount(type: string, problem: string): EngineError {
  return new EngineError(
    "invalid-argument",
    `invalid mount config for type ${JSON.stringify(type)}: ${problem}`,
  );
}

/** The source of a bind by `--mount` is not there. */
export function missingBindSource(path: string): EngineError {
  return invalidMount("bind", `bind source path does not exist: ${path}`);
}

/** The target of a mount is not absolute. */
export function mountPathNotAbsolute(path: string): string {
  return `invalid mount path: '${path}' mount path must be absolute`;
}

/** The options of `-v source:target:options` do not parse. */
export function invalidMountMode(mode: string): EngineError {
  return new EngineError("invalid-argument", `invalid mode: ${mode}`);
}

/** `-v` does not parse. */
export function invalidVolumeSpecification(specification: string, problem: string): EngineError {
  return new EngineError(
    "invalid-argument",
    `invalid volume specification: '${specification}': ${problem}`,
  );
}

/** Two mounts at one place. */
export function duplicateMountPoint(target: string): EngineError {
  return new EngineError("invalid-argument", `Duplicate mount point: ${target}`);
}

// ── networks ────────────────────────────────────────────────────────────────────────────────

/** The network is unknown. */
export function noSuchNetwork(name: string): EngineError {
  return new EngineError("not-found", `network ${name} not found`);
}

/** A removal of bridge, host or none. */
export function predefinedNetwork(name: string): EngineError {
  return new EngineError(
    "permission-denied",
    `${name} is a pre-defined network and cannot be removed`,
  );
}

/** The host port is taken. @param address with its port, IPv6 in brackets */
export function portAllocated(
  address: string,
  endpoint: { readonly containerName: string; readonly endpointId: string },
): EngineError {
  return new EngineError(
    "internal",
    "failed to set up container networking: driver failed programming external connectivity on " +
      `endpoint ${endpoint.containerName} (${endpoint.endpointId}): ` +
      `Bind for ${address} failed: port is already allocated`,
  );
}

/** A container port or host port that does not parse. */
export function invalidPort(port: string): EngineError {
  return new EngineError("invalid-argument", `invalid port specification: ${JSON.stringify(port)}`);
}
