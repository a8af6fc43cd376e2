/**
 * Asks an engine whether it is there, again and again, until its own input ends; prints the milliseconds of the
 * answer that took longest. A program of its own, so that nothing else has it wait.
 */
import { request } from "../test/support/http.ts";
import { timed } from "./case.ts";

const [socketPath = "", intervalMs = ""] = process.argv.slice(2);
/** The first answers are for this program to warm up. */
const warmUpCount = 20;
let worstMs = 0;
let count = 0;
let isOver = false;
void Bun.stdin.text().then(() => {
  isOver = true;
});
while (!isOver) {
  const tookMs = await timed(
    async () => await request(socketPath, { method: "GET", path: "/_ping" }),
  );
  count += 1;
  if (count > warmUpCount) worstMs = Math.max(worstMs, tookMs);
  await Bun.sleep(Number(intervalMs));
}
console.log(worstMs);
