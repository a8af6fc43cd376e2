/** Signals of this process to a container. */
import { actOnContainer } from "../../client/containers.ts";
import type { Transport } from "../../client/transport.ts";
import { EngineError } from "../../lib/errors.ts";

/** What is passed on: all that a process may be sent and can catch, but those about itself. */
const forwarded: readonly NodeJS.Signals[] = [
  ...(["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM"] as const),
  ...(["SIGCONT", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGXCPU", "SIGXFSZ", "SIGVTALRM"] as const),
  ...(["SIGIO", "SIGPWR", "SIGSYS"] as const),
];

/** Signals that end this process after the terminal is put back. */
const ending = ["SIGHUP", "SIGINT", "SIGTERM", "SIGQUIT"] as const;
const codes: Readonly<Record<(typeof ending)[number], number>> = {
  SIGHUP: 129,
  SIGINT: 130,
  SIGQUIT: 131,
  SIGTERM: 143,
};

/** Passes signals on until the returned function is called; what has ended meanwhile is no failure. */
export function forwardSignals(transport: Transport, container: string): () => void {
  const listeners = forwarded.map((signal) => {
    const listener = (): void => {
      actOnContainer(transport, container, {
        action: "kill",
        query: { signal: signal.replace(/^SIG/, "") },
      }).catch((error: unknown) => {
        if (!(error instanceof EngineError)) throw error;
      });
    };
    process.on(signal, listener);
    return { signal, listener };
  });
  return () => {
    for (const { signal, listener } of listeners) process.off(signal, listener);
  };
}

/** Ends the process on a signal as a shell expects it, after exit listeners have run. */
export function endOnSignals(): () => void {
  const listeners = ending.map((signal) => {
    const listener = (): void => {
      process.exit(codes[signal]);
    };
    process.on(signal, listener);
    return { signal, listener };
  });
  return () => {
    for (const { signal, listener } of listeners) process.off(signal, listener);
  };
}

/** Ends the process at once on a second interrupt; the first one calls `onFirst`. */
export function cancelOnInterrupt(onFirst: () => void): () => void {
  let count = 0;
  const listener = (): void => {
    count += 1;
    if (count > 1) process.exit(130);
    onFirst();
  };
  process.on("SIGINT", listener);
  process.on("SIGTERM", listener);
  return () => {
    process.off("SIGINT", listener);
    process.off("SIGTERM", listener);
  };
}
