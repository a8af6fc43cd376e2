/** The hashing thread of the diff helper: one archive after another, for as long as the helper lives. */
import { workerData } from "node:worker_threads";
import { createDigester } from "../../oci/digest.ts";
import { type HashRing, RingEnd } from "./_hash-ring.ts";

serve(workerData as HashRing);

function serve(shared: HashRing): never {
  const ring = new RingEnd(shared);
  for (;;) {
    const digester = createDigester();
    const isWanted = ring.takeAll((bytes) => digester.update(bytes));
    if (isWanted) ring.answer(digester.digest());
  }
}
