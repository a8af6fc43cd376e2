import { messageOf } from "../../lib/errors.ts";
import { beginJsonLines, type Exchange, sendEmpty } from "../exchange.ts";

/** Bytes that may wait for a client that does not read; bars are left out from then on. */
const waitingMaxBytes = 256 * 1024;

/** Runs work that tells its progress; a failure after the first message becomes the last message. */
export async function streamProgress(
  exchange: Exchange,
  work: (progress: (message: object) => void) => Promise<void>,
): Promise<void> {
  let send: ((value: unknown) => void) | undefined;
  const progress = (message: object): void => {
    send ??= beginJsonLines(exchange);
    if (exchange.response.writableLength > waitingMaxBytes && hasBar(message)) return;
    send(message);
  };
  try {
    await work(progress);
  } catch (error) {
    if (send === undefined) throw error;
    const message = messageOf(error);
    send({ errorDetail: { message }, error: message });
  }
  if (send === undefined) sendEmpty(exchange, 200);
  else exchange.response.end();
}

/** Whether a message only says how far something is: the next one says it too. */
function hasBar(message: object): boolean {
  return "progress" in message && message.progress !== undefined;
}
