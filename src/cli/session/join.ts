/** Joins a container's own process, as `attach` and `start -a` do. */
import type { ContainerInspectResponse } from "../../api/container.ts";
import type { Transport } from "../../client/transport.ts";
import { EngineError } from "../../lib/errors.ts";
import type { Invocation } from "../command.ts";
import { detachKeysOf } from "../detach-keys.ts";
import { isInputTerminal } from "../standard-input.ts";
import { type ForegroundOptions, runForeground } from "./foreground.ts";

/**
 * Joins until the process ends or the user detaches.
 *
 * @param options.wantsInput what is typed goes to the process, when it takes any
 * @returns the exit code
 */
export async function joinContainer(
  transport: Transport,
  container: ContainerInspectResponse,
  options: Pick<Invocation, "flags" | "environment"> &
    Pick<ForegroundOptions, "condition" | "starts"> & { readonly wantsInput: boolean },
): Promise<number> {
  const { flags, environment, wantsInput, condition, starts } = options;
  const { Id: id, Config: config } = container;
  const stdin = wantsInput && config.OpenStdin;
  if (stdin && config.Tty && !isInputTerminal()) {
    throw new EngineError("invalid-argument", "the input device is not a TTY");
  }
  return await runForeground(transport, id, {
    stdin,
    stdout: true,
    stderr: true,
    isTty: config.Tty,
    detachKeys: await detachKeysOf({ flags, environment }),
    proxiesSignals: flags.isNotOff("sig-proxy"),
    condition,
    starts,
  });
}
