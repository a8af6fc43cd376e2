import type { Command } from "../command.ts";
import { actionCommand } from "./_action.ts";

/** Pauses containers. */
export const command: Command = actionCommand("pause");
