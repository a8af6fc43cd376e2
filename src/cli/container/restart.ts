import type { Command } from "../command.ts";
import { endingCommand } from "./_action.ts";

/** Restarts containers. */
export const command: Command = endingCommand("restart");
