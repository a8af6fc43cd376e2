import type { EventMessage } from "../../api/system.ts";
import { engineEvents } from "../../client/system.ts";
import { isKind } from "../../lib/errors.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { formatTimePadded } from "../../lib/time.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { parseFilters } from "../flag/filters.ts";
import { filterFlag, inspectFormatFlag, textFlag } from "../flag/flags.ts";
import { compileFormat } from "../format/single.ts";
import { cancelOnInterrupt } from "../session/signals.ts";
import { engineTime } from "../times.ts";

/** Prints events as they happen. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [
    filterFlag,
    textFlag("format", inspectFormatFlag.help),
    textFlag("since", "Show all events created since timestamp"),
    textFlag("until", "Stream events until this timestamp"),
  ],
  run,
};

async function run({ flags, output, engine }: Invocation): Promise<number> {
  const format = flags.text("format");
  const render =
    format === ""
      ? eventLine
      : await compileFormat(format, { isTerminal: output.isTerminal, typeName: "*events.Message" });
  const abort = new AbortController();
  const release = cancelOnInterrupt(() => {
    abort.abort();
  });
  try {
    const events = engineEvents(await engine(), {
      since: engineTime(flags.text("since")),
      until: engineTime(flags.text("until")),
      filters: parseFilters(flags.list("filter")),
      signal: abort.signal,
    });
    for await (const event of events) output.out(render(event));
    return 0;
  } catch (error) {
    if (!abort.signal.aborted || !isKind(error, "canceled")) throw error;
    return 130;
  } finally {
    release();
  }
}

/** One event as a line: time, noun, verb, subject, attributes. */
export function eventLine(event: EventMessage): string {
  const attributes = Object.entries(event.Actor.Attributes ?? {})
    .map(([name, text]) => `${name}=${text}`)
    .sort()
    .join(", ");
  const moment = formatTimePadded(BigInt(event.timeNano ?? BigInt(event.time) * 1_000_000_000n));
  const tail = attributes === "" ? "" : ` (${attributes})`;
  return `${escapeControls(`${moment} ${event.Type} ${event.Action} ${event.Actor.ID}${tail}`)}\n`;
}
