/** The engine that a file of tests shares. */
import { afterAll, afterEach } from "bun:test";
import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { type DaemonOptions, startDaemon, type TestDaemon } from "./daemon.ts";
import { type Engine, openEngine, referenceHost } from "./engine.ts";
import { run } from "./process.ts";

/**
 * The engine for a file of tests, with the images it names. Containers are removed after every test,
 * everything at the end, when the daemon must have left nothing behind.
 */
export async function useEngine(options: {
  readonly images: readonly string[];
  readonly daemon?: DaemonOptions;
}): Promise<Engine & { readonly daemon: TestDaemon | undefined }> {
  const daemon = referenceHost === undefined ? await startDaemon(options.daemon) : undefined;
  const engine =
    daemon?.engine ??
    openEngine((referenceHost ?? "").replace("unix://", ""), mkdtempSync("/tmp/tugref-"));
  afterEach(async () => {
    await engine.removeContainers();
  });
  afterAll(async () => {
    if (daemon !== undefined) {
      await engine.removeContainers();
      const left = await daemon.leaks();
      const faults = daemon.log().match(/^.*(?:uncaught|unhandled rejection).*$/gm) ?? [];
      await daemon[Symbol.asyncDispose]();
      assert.deepEqual({ left, faults }, { left: [], faults: [] });
    }
    if (daemon === undefined) await run(["rm", "-rf", engine.folder]);
  });
  await engine.ensureImages(...options.images);
  return { ...engine, daemon };
}
