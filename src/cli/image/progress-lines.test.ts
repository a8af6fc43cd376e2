import { expect, test } from "bun:test";
import type { JsonMessage } from "../../api/image.ts";
import type { Output } from "../output.ts";
import { showProgress } from "./progress.ts";

function output(isTerminal: boolean): Output & { readonly text: () => string } {
  const parts: string[] = [];
  return {
    out: (text) => void parts.push(text),
    err: () => undefined,
    isTerminal,
    isErrTerminal: isTerminal,
    columns: 40,
    text: () => parts.join(""),
  };
}

async function* messages(): AsyncGenerator<JsonMessage> {
  await Promise.resolve();
  yield { status: "Pulling from x", id: "latest" };
  yield { status: "Pulling fs layer", id: "aaa" };
  yield { status: "Pulling fs layer", id: "bbb" };
  yield { status: "Downloading", id: "aaa", progressDetail: { current: 5, total: 10 } };
  yield { status: "Pull complete", id: "aaa" };
  yield { status: "Digest: \u001b[31mred" };
}

test("a terminal has a line a layer, written over and cut to its width", async () => {
  const shown = output(true);
  await showProgress(messages(), { output: shown });
  expect(shown.text()).toBe(
    "latest: Pulling from x\naaa: Pulling fs layer\nbbb: Pulling fs layer\n" +
      "\x1b[2A\r\x1b[2Kaaa: Downloading [=====================\x1b[2B\r".replace(
        "====\x1b",
        "====\x1b",
      ) +
      "\x1b[2A\r\x1b[2Kaaa: Pull complete\x1b[2B\r" +
      "Digest: \\x1b[31mred\n",
  );
});

test("elsewhere each message is a line, and what moves is left out", async () => {
  const shown = output(false);
  await showProgress(messages(), { output: shown });
  expect(shown.text().split("\n")).toEqual([
    "latest: Pulling from x",
    "aaa: Pulling fs layer",
    "bbb: Pulling fs layer",
    "aaa: Pull complete",
    expect.stringContaining("Digest"),
    "",
  ]);
});

test("a failure is thrown with the engine's sentence", async () => {
  async function* failing(): AsyncGenerator<JsonMessage> {
    await Promise.resolve();
    yield { error: "denied", errorDetail: { message: "denied: no" } };
  }
  await expect(showProgress(failing(), { output: output(false) })).rejects.toMatchObject({
    message: "denied: no",
  });
});
