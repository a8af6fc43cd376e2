import type { Command } from "../command.ts";
import { actionCommand } from "./_action.ts";

/** Lets paused containers go on. */
export const command: Command = actionCommand("unpause");
