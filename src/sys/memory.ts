import { freemem, totalmem } from "node:os";

/** Memory of the machine in bytes. */
export function totalMemoryBytes(): number {
  return totalmem();
}

/** Memory that is free or could be made so, in bytes. */
export function availableMemoryBytes(): number {
  return freemem();
}
