import { describe, expect, test } from "bun:test";
import * as messages from "./docker-messages.ts";
import { EngineError, type ErrorKind } from "./errors.ts";

const c = "6e90fa2f36c38d6484068e1ab3b9637ab11d4b06e163f881a00f0656e9cd3807";
const i = "sha256:d8b58822797c8278768127ee45931c6fb41668f23e99822f2fed7f2f0e6d14da";

// Each sentence was read from Docker 28.5 with these names.
const verbatim: readonly (readonly [EngineError, ErrorKind, string])[] = [
  [messages.noSuchContainer("nope"), "not-found", "No such container: nope"],
  [messages.ambiguousId("2"), "invalid-argument", "multiple IDs found with provided prefix: 2"],
  [
    messages.containerNameInUse("apit1", c),
    "conflict",
    `Conflict. The container name "/apit1" is already in use by container "${c}". You have to remove (or rename) that container to be able to reuse that name.`,
  ],
  [
    messages.invalidContainerName("x/y"),
    "invalid-argument",
    "Invalid container name (x/y), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
  ],
  [
    messages.renameFailed(messages.invalidContainerName("/a b")),
    "invalid-argument",
    "Error when allocating new name: Invalid container name (/a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
  ],
  [messages.emptyName(), "invalid-argument", "Neither old nor new names may be empty"],
  [
    messages.sameName(),
    "invalid-argument",
    "Renaming a container with the same name as its current name",
  ],
  [messages.noCommand(), "invalid-argument", "no command specified"],
  [
    messages.emptyConfig(),
    "invalid-argument",
    "config cannot be empty in order to create a container",
  ],
  [messages.containerNotRunning(c), "conflict", `container ${c} is not running`],
  [
    messages.cannotKill("apit2", messages.containerNotRunning(c)),
    "conflict",
    `cannot kill container: apit2: container ${c} is not running`,
  ],
  [
    messages.cannotKill("apit3", messages.invalidSignal("FOO")),
    "invalid-argument",
    "cannot kill container: apit3: invalid signal: FOO",
  ],
  [
    messages.unsupportedSignal(99),
    "invalid-argument",
    "the linux daemon does not support signal 99",
  ],
  [messages.alreadyPaused(c), "conflict", `Container ${c} is already paused`],
  [messages.notPaused(c), "conflict", `Container ${c} is not paused`],
  [
    messages.cannotStartPaused(),
    "conflict",
    "cannot start a paused container, try unpause instead",
  ],
  [
    messages.attachPaused("apit3"),
    "conflict",
    "container apit3 is paused, unpause the container before attach",
  ],
  [
    messages.cannotRemoveRunning("apit1"),
    "conflict",
    'cannot remove container "apit1": container is running: stop the container before removing or force remove',
  ],
  [
    messages.cannotRemovePaused("apit3"),
    "conflict",
    'cannot remove container "apit3": container is paused and must be unpaused first',
  ],
  [messages.invalidWaitCondition("zz"), "invalid-argument", 'invalid condition: "zz"'],
  [
    messages.noLogStream(),
    "invalid-argument",
    "Bad parameters: you must choose at least one stream",
  ],
  [messages.invalidDetachKeys("zz"), "invalid-argument", "Invalid escape keys (zz) provided"],
  [messages.unknownRuntime("nope"), "invalid-argument", "unknown or invalid runtime name: nope"],
  [
    messages.autoRemoveWithRestart(),
    "invalid-argument",
    "can't create 'AutoRemove' container with restart policy",
  ],
  [
    messages.unknownRestartPolicy("x"),
    "invalid-argument",
    "invalid restart policy: unknown policy 'x'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
  ],
  [
    messages.invalidRetryCount("negative"),
    "invalid-argument",
    "invalid restart policy: maximum retry count cannot be negative",
  ],
  [
    messages.invalidRetryCount("without-on-failure"),
    "invalid-argument",
    "invalid restart policy: maximum retry count can only be used with 'on-failure'",
  ],
  [messages.invalidEnvironment("=x"), "invalid-argument", "invalid environment variable: =x"],
  [
    messages.invalidWorkingDir("x"),
    "invalid-argument",
    "the working directory 'x' is invalid, it needs to be an absolute path",
  ],
  [
    messages.unknownCapability("CapAdd", "CAP_NOPE"),
    "invalid-argument",
    'invalid CapAdd: unknown capability: "CAP_NOPE"',
  ],
  [
    messages.invalidSecurityOpt(2, "nope=x"),
    "invalid-argument",
    'invalid --security-opt 2: "nope=x"',
  ],
  [messages.invalidNamespaceMode("IPC", "x"), "invalid-argument", "invalid IPC mode: x"],
  [
    messages.invalidNamespaceMode("cgroup namespace", "x"),
    "invalid-argument",
    "invalid cgroup namespace mode: x",
  ],
  [messages.noSuchExec("nope"), "not-found", "No such exec instance: nope"],
  [messages.noExecCommand(), "invalid-argument", "No exec command specified"],
  [
    messages.execPaused("apit3"),
    "conflict",
    "Container apit3 is paused, unpause the container before exec",
  ],
  [messages.execAlreadyRunning("e"), "conflict", "exec command e is already running"],
  [messages.execAlreadyRun("e"), "conflict", "exec command e has already run"],
  [messages.noSuchImage("nope:latest"), "not-found", "No such image: nope:latest"],
  [messages.invalidReference(), "invalid-argument", "invalid reference format"],
  [
    messages.invalidReference("repository name (library/UP) must be lowercase"),
    "invalid-argument",
    "invalid reference format: repository name (library/UP) must be lowercase",
  ],
  [messages.invalidTag(), "invalid-argument", "invalid tag format"],
  [
    messages.platformMismatch("apitest", { found: "linux/amd64", wanted: "linux/arm64" }),
    "not-found",
    "image with reference apitest was found but its platform (linux/amd64) does not match the specified platform (linux/arm64)",
  ],
  [
    messages.imageTagInUse("apitest", { containerId: c, imageId: i }),
    "conflict",
    'conflict: unable to remove repository reference "apitest" (must force) - container 6e90fa2f36c3 is using its referenced image d8b58822797c',
  ],
  [
    messages.imageInUseByRunning(i, c),
    "conflict",
    "conflict: unable to delete d8b58822797c (cannot be forced) - image is being used by running container 6e90fa2f36c3",
  ],
  [
    messages.imageInUseByStopped(i, c),
    "conflict",
    "conflict: unable to delete d8b58822797c (must be forced) - image is being used by stopped container 6e90fa2f36c3",
  ],
  [
    messages.imageInSeveralRepositories(i),
    "conflict",
    "conflict: unable to delete d8b58822797c (must be forced) - image is referenced in multiple repositories",
  ],
  [messages.noSuchVolume("nope"), "not-found", "get nope: no such volume"],
  [messages.volumeInUse("vv", [c]), "conflict", `remove vv: volume is in use - [${c}]`],
  [
    messages.invalidVolumeName("a/b"),
    "invalid-argument",
    'create a/b: "a/b" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path',
  ],
  [
    messages.shortVolumeName("a"),
    "invalid-argument",
    "create a: volume name is too short, names should be at least two alphanumeric characters",
  ],
  [
    messages.unknownVolumeDriver("v2", "nope"),
    "not-found",
    'create v2: error looking up volume plugin nope: plugin "nope" not found',
  ],
  [
    messages.invalidMount("x", "mount type unknown"),
    "invalid-argument",
    'invalid mount config for type "x": mount type unknown',
  ],
  [
    messages.missingBindSource("/nope-a"),
    "invalid-argument",
    'invalid mount config for type "bind": bind source path does not exist: /nope-a',
  ],
  [messages.invalidMountMode("zz"), "invalid-argument", "invalid mode: zz"],
  [
    messages.invalidVolumeSpecification(
      "/a:b",
      messages.invalidMount("bind", messages.mountPathNotAbsolute("b")).message,
    ),
    "invalid-argument",
    "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
  ],
  [messages.duplicateMountPoint("/x"), "invalid-argument", "Duplicate mount point: /x"],
  [messages.noSuchNetwork("nope"), "not-found", "network nope not found"],
  [
    messages.predefinedNetwork("bridge"),
    "permission-denied",
    "bridge is a pre-defined network and cannot be removed",
  ],
  [
    messages.portAllocated("0.0.0.0:18099", { containerName: "apit6", endpointId: "a771" }),
    "internal",
    "failed to set up container networking: driver failed programming external connectivity on endpoint apit6 (a771): Bind for 0.0.0.0:18099 failed: port is already allocated",
  ],
  [messages.invalidPort("xx"), "invalid-argument", 'invalid port specification: "xx"'],
];

describe("Docker's sentences", () => {
  test.each(verbatim.map(([error, kind, message]) => [message, { error, kind }] as const))(
    "%s",
    (message, { error, kind }) => {
      expect(error).toBeInstanceOf(EngineError);
      expect([error.kind, error.message]).toEqual([kind, message]);
    },
  );

  test("a name is shown with one slash, however it was given", () => {
    expect(messages.containerNameInUse("/a", "c").message).toBe(
      messages.containerNameInUse("a", "c").message,
    );
  });

  test("a wrapped error keeps its cause", () => {
    const cause = messages.invalidSignal("FOO");
    expect(messages.cannotKill("a", cause).cause).toBe(cause);
  });
});
