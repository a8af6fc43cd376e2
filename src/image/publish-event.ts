import type { ImageRecord } from "./image-records.ts";
import type { ImageContext } from "./context.ts";

/** Tells what happened to an image that is there: its labels are attributes, as Docker's clients filter by them. */
export function publishImageEvent(
  { events, index }: Pick<ImageContext, "events" | "index">,
  event: {
    readonly action: string;
    readonly record: ImageRecord;
    readonly name: string;
    /** The image's ID when absent; of a pull or push the reference. */
    readonly id?: string;
  },
): void {
  const { action, record, name, id = record.id } = event;
  const labels = index.config(record).config?.Labels ?? {};
  events.publish({ type: "image", action, id, attributes: { ...labels, name } });
}
