/** `POST /build` of clients that chose BuildKit there: told as its progress, in lines of JSON. */
import { describe, expect, test } from "bun:test";
import assert from "node:assert/strict";
import { controlMethods, type StatusResponse } from "../../src/api/buildkit/control.ts";
import { decodeMessage } from "../../src/lib/protobuf.ts";
import { referenceHost, uniqueName } from "../support/engine.ts";
import { at, parseLines } from "../support/json.ts";
import { type TarEntry, tar } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });

interface Told {
  readonly status: number;
  readonly message: string;
  readonly lines: readonly unknown[];
  readonly traces: readonly StatusResponse[];
}

async function build(
  dockerfile: string,
  options: {
    readonly query?: Readonly<Record<string, string>>;
    readonly files?: readonly TarEntry[];
  } = {},
): Promise<Told> {
  const query = new URLSearchParams({ version: "2", ...options.query });
  const body = tar([{ name: "Dockerfile", content: dockerfile }, ...(options.files ?? [])]);
  const headers = { "Content-Type": "application/x-tar" };
  const answer = await engine.api("POST", `/build?${query}`, body, { headers });
  const lines = answer.status === 200 ? parseLines(answer.text) : [];
  const traces = lines.flatMap((line) => {
    const { id, aux } = line as { readonly id?: string; readonly aux?: string };
    if (id !== "moby.buildkit.trace") return [];
    const bytes = Buffer.from(aux ?? assert.fail("a trace without content"), "base64");
    return [decodeMessage(controlMethods.status.response, bytes)];
  });
  return { status: answer.status, message: answer.message, lines, traces };
}

const namesOf = ({ traces }: Told): readonly string[] =>
  traces.flatMap(({ vertexes }) => vertexes.map(({ name }) => name));
const outputOf = ({ traces }: Told): string =>
  traces.flatMap(({ logs }) => logs.map(({ msg }) => Buffer.from(msg).toString())).join("");

describe("POST /build?version=2", () => {
  test("tells steps and their output, and the image last", async () => {
    const name = uniqueName("traced");
    const stamp = uniqueName("stamp");
    const file = `FROM busybox\nARG V=0\nCOPY f /f\nRUN --mount=type=cache,target=/c cat /f; echo ${stamp} $V\n`;
    const told = await build(file, {
      files: [{ name: "f", content: "copied\n" }],
      query: { t: name, buildargs: '{"V":"7"}' },
    });
    expect(outputOf(told)).toBe(`copied\n${stamp} 7\n`);
    expect(namesOf(told).some((step) => step.includes("COPY f /f"))).toBeTrue();
    const id = at(told.lines.at(-1), "aux", "ID");
    expect(told.lines.at(-1)).toEqual({ id: "moby.image.id", aux: { ID: id } });
    const image = await engine.api("GET", `/images/${name}/json`);
    expect(at(image.json, "Id")).toBe(id);
    // Steps have no images of their own, as the classic builder's do.
    expect(at(image.json, "Parent")).toBe("");
    const quiet = await build(file, {
      files: [{ name: "f", content: "copied\n" }],
      query: { q: "1", buildargs: '{"V":"7"}' },
    });
    expect(quiet.lines).toEqual([{ stream: `${String(id)}\n` }]);
    await engine.api("DELETE", `/images/${name}`);
  });

  test.each([
    ["FROM busybox\nRUN echo last words; exit 4\n", /did not complete successfully: exit code: 4$/],
    ["FRM busybox\n", /unknown instruction: FRM/],
    ["FROM 127.0.0.1:1/none\n", /127\.0\.0\.1:1/],
    ["FROM busybox\nCOPY nowhere /\n", /"\/nowhere": not found/],
  ])("tells in the stream why %j failed", async (dockerfile, why) => {
    const { status, lines } = await build(dockerfile);
    const message = String(at(lines.at(-1), "error"));
    expect(message).toMatch(why);
    expect([status, at(lines.at(-1), "errorDetail", "message")]).toEqual([200, message]);
  });

  test.skipIf(referenceHost !== undefined).each([
    ["outputs", '[{"Type":"local"}]', /no other outputs/],
    ["remote", "upload-request", /the context of another request/],
    ["buildid", "upload-request:1", /the context of another request/],
  ])("refuses by name what it does not serve: %s", async (name, value, sentence) => {
    const told = await build("FROM busybox\n", { query: { [name]: value } });
    expect([told.status, told.message]).toEqual([501, expect.stringMatching(sentence)]);
  });

  test.skipIf(referenceHost !== undefined)(
    "wants a session for what only a session has",
    async () => {
      const { lines } = await build("", { query: { remote: "client-session" } });
      expect(String(at(lines.at(-1), "error"))).toMatch(/no session|no active session/);
    },
  );
});
