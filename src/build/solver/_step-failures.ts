import { EngineError } from "../../lib/errors.ts";
import { formatPlatform, hostPlatform, type Platform } from "../../oci/platform.ts";
import { canRunArchitecture } from "../../sys/binfmt.ts";
import { goQuoted } from "../graph/go-format.ts";
import type { RunAction } from "../step.ts";

/** Of a command that could not be started. BuildKit's. */
const exitCodeNotStarted = 1;

/** A command, and who reads what it prints. */
interface StepOutput {
  readonly run: RunAction;
  readonly onOutput: (stream: "stdout" | "stderr", bytes: Uint8Array) => void;
}

/** What a start that failed is told as: a runtime that says why ends the command with its words. */
export function startFailed({ run, onOutput }: StepOutput, error: unknown): unknown {
  if (!(error instanceof EngineError)) return error;
  const exitCode = error.details["exitCode"];
  if (typeof exitCode !== "number") return error;
  onOutput("stderr", Buffer.from(`${explained(error.message)}\n`));
  return failed(run, `exit code: ${exitCodeNotStarted}`, exitCodeNotStarted);
}

/** Says what is missing where the command may have failed for want of it. */
export function adviseForeign({
  platform,
  onOutput,
}: StepOutput & { readonly platform: Platform }): void {
  const host = hostPlatform();
  if (canRunArchitecture(platform.architecture, { host: host.architecture })) return;
  const advice =
    `The step is for ${formatPlatform(platform)}, and this machine is ${formatPlatform(host)}: ` +
    "it runs such programs once qemu-user-static and binfmt-support are installed";
  onOutput("stderr", Buffer.from(`${advice}\n`));
}

/** What the runtime says of a program that cannot be run, as BuildKit shortens it, with advice. */
function explained(message: string): string {
  const reason = message.replace(/^.*?(?=unable to start container process)/s, "");
  const text = reason === message ? message : `runc run failed: ${reason}`;
  if (!/exec format error/i.test(message)) return text;
  return `${text}\nThe program is for another architecture: this machine runs it once qemu-user-static and binfmt-support are installed`;
}

/** Runs `work`; a failure is the command's. */
export function describeFailure<T>(run: RunAction, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    const { message } = failed(run, error.message, exitCodeNotStarted);
    throw new EngineError(error.kind, message, { cause: error });
  }
}

/** The failure of a command, in BuildKit's words. */
export function failed(
  run: RunAction,
  reason: string,
  exitCode: number,
  cause?: unknown,
): EngineError {
  const command = run.args.join(" ");
  return new EngineError(
    "invalid-argument",
    `process ${goQuoted(command)} did not complete successfully: ${reason}`,
    { cause, details: { exitCode, command } },
  );
}
