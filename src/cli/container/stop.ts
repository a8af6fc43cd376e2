import type { Command } from "../command.ts";
import { endingCommand } from "./_action.ts";

/** Stops containers. */
export const command: Command = endingCommand("stop");
