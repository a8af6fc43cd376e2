/** Containers by their label. */
import type { ContainerService } from "../container/container-service.ts";
import { isKind } from "../lib/errors.ts";

/** Removes the containers that have a label, with a value or with any, whether they run or not. */
export async function removeLabelled(
  containers: Pick<ContainerService, "list" | "remove">,
  wanted: { readonly label: string; readonly value?: string },
): Promise<void> {
  const { label, value } = wanted;
  const filter = value === undefined ? label : `${label}=${value}`;
  const found = await containers.list({
    all: true,
    size: false,
    filters: new Map([["label", [filter]]]),
  });
  for (const { Id } of found) {
    try {
      await containers.remove(Id, { volumes: true, force: true, link: false });
    } catch (error) {
      // With `--rm` it goes by itself.
      if (!isKind(error, "not-found") && !isKind(error, "conflict")) throw error;
    }
  }
}
