/** The hashing thread of the diff helper: one archive after another, for as long as the helper lives. */
import { workerData } from "node:worker_threads";
import { createDigester } from "../../oci/digest.ts";
import type { SharedSlots } from "../slot-ring.ts";
import { RingEnd } from "./_hash-ring.ts";

serve(workerData as SharedSlots);

function serve(shared: SharedSlots): never {
  const ring = new RingEnd(shared);
  for (;;) {
    const digester = createDigester();
    const isWanted = ring.takeAll((bytes) => digester.update(bytes));
    if (isWanted) ring.answer(digester.digest());
  }
}
