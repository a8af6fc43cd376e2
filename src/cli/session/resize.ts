/** Keeps a terminal on the other side as large as the one here. */
import { setTimeout as sleep } from "node:timers/promises";
import { EngineError } from "../../lib/errors.ts";
import { type TerminalSize, terminalSize } from "./terminal.ts";

const attempts = 10;
const retryMs = 10;

/**
 * Sends the size now, again for a while until it is taken, and whenever it changes.
 *
 * @returns what stops it
 */
export function followSize(send: (size: TerminalSize) => Promise<void>): () => void {
  let isStopped = false;
  const sendNow = async (): Promise<boolean> => {
    const size = terminalSize();
    if (size === undefined || isStopped) return true;
    try {
      await send(size);
      return true;
    } catch (error) {
      // The process may not be there yet, or no longer.
      if (error instanceof EngineError) return false;
      throw error;
    }
  };
  const begin = async (): Promise<void> => {
    for (let attempt = 0; attempt < attempts && !isStopped; attempt += 1) {
      if (await sendNow()) return;
      await sleep(retryMs * (attempt + 1));
    }
  };
  const onChange = (): void => {
    void sendNow();
  };
  process.on("SIGWINCH", onChange);
  void begin();
  return () => {
    isStopped = true;
    process.off("SIGWINCH", onChange);
  };
}
