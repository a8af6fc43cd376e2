/** What `run` and `create` share: the request, the pull of a missing image, the file with the id. */
import type { ContainerCreateRequest } from "../../api/container.ts";
import { createContainer } from "../../client/containers.ts";
import type { Transport } from "../../client/transport.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { familiarString, isFullId, parseReference, withDefaultTag } from "../../oci/reference.ts";
import type { Invocation } from "../command.ts";
import { withNearestImage } from "../help/hints.ts";
import { parsePlatform } from "../image/platform.ts";
import { createRequest } from "../options/create-request.ts";

/** The request of an invocation. @throws invalid-argument with Docker's sentence */
export function requestOf(invocation: Invocation): ContainerCreateRequest {
  const { flags, operands, environment } = invocation;
  const [image = "", ...argv] = operands;
  const pull = pullOf(invocation);
  if (!["always", "missing", "never"].includes(pull)) {
    throw new EngineError(
      "invalid-argument",
      `invalid pull option: '${pull}': must be one of "always", "missing" or "never"`,
    );
  }
  const request = createRequest(flags, { image, argv, variables: environment.variables });
  if (!isFullId(image) && !image.startsWith("sha256:")) checkReference(image);
  const platform = flags.text("platform");
  if (platform !== "") parsePlatform(platform);
  return request;
}

/**
 * Creates the container; pulls the image when `--pull` and its absence ask for it.
 *
 * @returns the container's id
 */
export async function createFrom(
  transport: Transport,
  request: ContainerCreateRequest,
  invocation: Invocation,
): Promise<string> {
  const { flags, output } = invocation;
  const cidFile = flags.text("cidfile");
  if (cidFile !== "" && process.getBuiltinModule("node:fs").existsSync(cidFile)) {
    throw new EngineError(
      "invalid-argument",
      `container ID file found, make sure the other container isn't running or delete ${cidFile}`,
    );
  }
  const pull = pullOf(invocation);
  const image = request.Image ?? "";
  const options = { request, name: flags.text("name"), platform: flags.text("platform") };
  if (pull === "always") await pullImage(transport, image, invocation);
  const created = await createContainer(transport, options).catch(async (error: unknown) => {
    if (pull !== "missing" || !isMissingImage(error)) {
      const isMissing = isMissingImage(error);
      throw await withHint(error, { transport, image, invocation, isMissing });
    }
    output.err(`Unable to find image '${missingName(image)}' locally\n`);
    try {
      await pullImage(transport, image, invocation);
    } catch (failure) {
      const isMissing = failure instanceof EngineError;
      throw await withHint(failure, { transport, image, invocation, isMissing });
    }
    return createContainer(transport, options);
  });
  for (const warning of created.Warnings ?? []) {
    output.err(`WARNING: ${escapeControls(warning)}\n`);
  }
  if (cidFile !== "") writeId(cidFile, created.Id);
  return created.Id;
}

/** Takes back the file with an id that stands for nothing. */
export function removeCidFile(invocation: Invocation): void {
  const path = invocation.flags.text("cidfile");
  if (path !== "") process.getBuiltinModule("node:fs").rmSync(path, { force: true });
}

function pullOf({ flags }: Invocation): string {
  return flags.isGiven("pull") ? flags.text("pull") : "missing";
}

function isMissingImage(error: unknown): boolean {
  return isKind(error, "not-found") && /no such image/i.test(error.message);
}

function missingName(image: string): string {
  const reference = withDefaultTag(parseReference(image));
  return familiarString(reference);
}

async function pullImage(
  transport: Transport,
  image: string,
  invocation: Invocation,
): Promise<void> {
  const { output, flags, environment } = invocation;
  // What was asked for is the container's output: the pull's goes beside it.
  const beside = { ...output, out: output.err.bind(output), isTerminal: output.isErrTerminal };
  const { pullFrom } = await import("../registry/pull-from.ts");
  await pullFrom(transport, {
    reference: withDefaultTag(parseReference(image)),
    platform: flags.text("platform"),
    environment,
    output: beside,
    isQuiet: flags.isOn("quiet"),
  });
}

/** A flag without its dash is taken for an image: say so; else the image that may have been meant. */
async function withHint(
  failure: unknown,
  options: {
    readonly transport: Transport;
    readonly image: string;
    readonly invocation: Invocation;
    /** The image is not here. */
    readonly isMissing: boolean;
  },
): Promise<unknown> {
  const { transport, image, invocation, isMissing } = options;
  if (!(failure instanceof EngineError)) return failure;
  const match = /(?:^|-)([a-zA-Z])$/.exec(image);
  const next = invocation.operands[1];
  if (match === null || next === undefined) {
    return isMissing
      ? await withNearestImage(transport, { error: failure, wanted: image })
      : failure;
  }
  return new EngineError(
    failure.kind,
    `${failure.message}\n'${image}' was taken for the image's name: did you mean -${match[1]} ${next}?`,
    { cause: failure, details: failure.details },
  );
}

function checkReference(image: string): void {
  parseReference(image);
}

function writeId(path: string, id: string): void {
  process.getBuiltinModule("node:fs").writeFileSync(path, id, { mode: 0o644 });
}
