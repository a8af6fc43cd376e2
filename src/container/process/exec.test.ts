import { expect, test } from "bun:test";
import type { ExecConfig } from "../../api/exec.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { resizeExec } from "./exec.ts";
import { Exec } from "./exec-store.ts";

interface Resized {
  readonly execId: string;
  readonly rows: number;
  readonly columns: number;
}

/** An exec whose shim notes what it is asked. */
function execWithShim(): { readonly exec: Exec; readonly resized: Resized[] } {
  const resized: Resized[] = [];
  const shim = {
    resize: async (size: Resized): Promise<void> => {
      resized.push(size);
      await Promise.resolve();
    },
  };
  const container = { id: "c", execIds: new Set(), shim } as unknown as LiveContainer;
  return { exec: new Exec(container, { Cmd: ["sh"] } as unknown as ExecConfig), resized };
}

const size = { rows: 21, columns: 43 };

test("a resize waits for the process", async () => {
  const { exec, resized } = execWithShim();
  const resizing = resizeExec(exec, size);
  exec.state = { kind: "starting" };
  await Bun.sleep(1);
  expect(resized).toEqual([]);
  exec.state = { kind: "running", pid: 7 };
  await resizing;
  expect(resized).toEqual([{ execId: exec.id, ...size }]);
});

test("a resize of an exec that ends instead is refused at once", async () => {
  const { exec, resized } = execWithShim();
  const resizing = resizeExec(exec, size);
  exec.state = { kind: "ended", exitCode: 1, pid: 0 };
  await expect(resizing).rejects.toMatchObject({ kind: "conflict" });
  expect(resized).toEqual([]);
});
