/** One pull: asked of the engine with the credentials that are kept for the registry. */
import { createImage, progressOf } from "../../client/images.ts";
import type { Transport } from "../../client/transport.ts";
import { familiarName, type Reference } from "../../oci/reference.ts";
import type { Environment } from "../environment.ts";
import { showProgress } from "../image/progress.ts";
import type { Output } from "../output.ts";
import { registryAuthHeader, serverOf } from "./credentials.ts";

/** What to pull, and where to tell of it. */
export interface PullRequest {
  /** Without tag and digest: every tag. */
  readonly reference: Reference;
  /** As given; "" is the engine's own. */
  readonly platform: string;
  readonly environment: Environment;
  readonly output: Output;
  readonly isQuiet: boolean;
}

/** Pulls. @throws the engine's sentence */
export async function pullFrom(transport: Transport, request: PullRequest): Promise<void> {
  const { reference, platform, environment, output, isQuiet } = request;
  const headers = await registryAuthHeader(environment, serverOf(reference.domain));
  const query = {
    fromImage: familiarName(reference),
    tag: reference.digest ?? reference.tag ?? "",
    platform,
  };
  await using stream = await createImage(transport, query, { headers });
  await showProgress(progressOf(stream), { output, isQuiet });
}
