/** The blobs of images as they leave the machine. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Engine } from "./engine.ts";
import { runOk } from "./process.ts";

/** Saves images and looks at every blob. @returns the names of those that are not what they say */
export async function damagedBlobs(engine: Engine, images: readonly string[]): Promise<string[]> {
  const query = images.map((name) => `names=${name}`).join("&");
  const saved = await engine.api("GET", `/images/get?${query}`);
  assert.equal(saved.status, 200, saved.text);
  const folder = mkdtempSync("/tmp/tug-saved-");
  try {
    await runOk(["tar", "-xf", "-", "-C", folder], { input: saved.bytes });
    const blobs = join(folder, "blobs/sha256");
    return readdirSync(blobs).filter(
      (name) =>
        createHash("sha256")
          .update(readFileSync(join(blobs, name)))
          .digest("hex") !== name,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}
