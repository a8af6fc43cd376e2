/** The flags of `build`. */
import type { FlagDefinition } from "../../lib/flags.ts";
import { listFlag, switchFlag, textFlag } from "../flag/flags.ts";

/** All flags; names and help are those of Docker's buildx. */
export const buildFlags: readonly FlagDefinition[] = [
  listFlag("add-host", 'Add a custom host-to-IP mapping (format: "host:ip")', {
    placeholder: "strings",
  }),
  listFlag(
    "allow",
    'Allow extra privileged entitlement (e.g., "network.host", "security.insecure")',
    {
      placeholder: "stringArray",
    },
  ),
  listFlag("annotation", "Add annotation to the image", { placeholder: "stringArray" }),
  listFlag("attest", 'Attestation parameters (format: "type=sbom,generator=image")', {
    placeholder: "stringArray",
  }),
  listFlag("build-arg", "Set build-time variables", { placeholder: "stringArray" }),
  listFlag("build-context", "Additional build contexts (e.g., name=path)", {
    placeholder: "stringArray",
  }),
  listFlag(
    "cache-from",
    'External cache sources (e.g., "user/app:cache", "type=local,src=path/to/dir")',
    {
      placeholder: "stringArray",
    },
  ),
  listFlag(
    "cache-to",
    'Cache export destinations (e.g., "user/app:cache", "type=local,dest=path/to/dir")',
    {
      placeholder: "stringArray",
    },
  ),
  textFlag("call", 'Set method for evaluating build ("check", "outline", "targets")', {
    fallback: "build",
  }),
  textFlag("cgroup-parent", 'Set the parent cgroup for the "RUN" instructions during build'),
  switchFlag("check", 'Shorthand for "--call=check"'),
  switchFlag("debug-on-fail", "Open a shell in the file system of a command that fails"),
  switchFlag("explain", "Show for each step why its result was found or made anew"),
  textFlag("file", 'Name of the Dockerfile (default: "PATH/Dockerfile")', { short: "f" }),
  textFlag("iidfile", "Write the image ID to a file"),
  listFlag("label", "Set metadata for an image", { placeholder: "stringArray" }),
  switchFlag("load", 'Shorthand for "--output=type=docker"'),
  textFlag("metadata-file", "Write build result metadata to a file"),
  textFlag("network", 'Set the networking mode for the "RUN" instructions during build', {
    fallback: "default",
  }),
  switchFlag("no-cache", "Do not use cache when building the image"),
  listFlag("no-cache-filter", "Do not cache specified stages", { placeholder: "stringArray" }),
  listFlag("output", 'Output destination (format: "type=local,dest=path")', {
    short: "o",
    placeholder: "stringArray",
  }),
  listFlag("platform", "Set target platform for build", { placeholder: "stringArray" }),
  textFlag(
    "progress",
    'Set type of progress output ("auto", "none", "plain", "quiet", "rawjson", "tty").\n' +
      "Use plain to show container output",
    { fallback: "auto" },
  ),
  textFlag("provenance", 'Shorthand for "--attest=type=provenance"'),
  switchFlag("pull", "Always attempt to pull all referenced images"),
  switchFlag("push", 'Shorthand for "--output=type=registry"'),
  switchFlag("quiet", "Suppress the build output and print image ID on success", { short: "q" }),
  textFlag("sbom", 'Shorthand for "--attest=type=sbom"'),
  listFlag("secret", 'Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")', {
    placeholder: "stringArray",
  }),
  textFlag("shm-size", "Shared memory size for build containers", { placeholder: "bytes" }),
  listFlag("ssh", 'SSH agent socket to expose to the build (format: "default|<id>[=<socket>]")', {
    placeholder: "stringArray",
  }),
  listFlag("tag", 'Name and optionally a tag (format: "name:tag")', {
    short: "t",
    placeholder: "stringArray",
  }),
  switchFlag("steps", "List names by which the results of instructions can be run"),
  textFlag("target", "Set the target build stage to build"),
  listFlag("ulimit", "Ulimit options", { placeholder: "ulimit" }),
];
