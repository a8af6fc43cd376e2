import { expect, test } from "bun:test";
import { completeEnvironment } from "./environment.ts";

const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const rows: readonly (readonly [string, readonly string[], boolean, readonly string[]])[] = [
  ["defaults", [], false, [path, "HOSTNAME=h", "HOME=/root"]],
  ["a terminal", [], true, [path, "HOSTNAME=h", "TERM=xterm", "HOME=/root"]],
  [
    "what was asked wins, in the place of the default",
    ["A=1", "PATH=/p", "HOME=", "A=2=3", "TERM=x"],
    true,
    ["PATH=/p", "HOSTNAME=h", "TERM=x", "A=2=3", "HOME="],
  ],
  ["an entry without value takes away", ["PATH", "A=1", "A", "HOME"], false, ["HOSTNAME=h"]],
  ["an empty value stays", ["A="], false, [path, "HOSTNAME=h", "A=", "HOME=/root"]],
];
for (const [name, asked, hasTty, expected] of rows) {
  test(`completeEnvironment(): ${name}`, () => {
    const defaults = { hostname: "h", home: "/root", hasTty };
    expect(completeEnvironment(asked, defaults)).toEqual(expected);
  });
}

test("completeEnvironment() takes ten thousand variables", () => {
  const asked = Array.from({ length: 10_000 }, (_, index) => `V${index}=${index}`);
  const defaults = { hostname: "h", home: "/", hasTty: false };
  expect(completeEnvironment(asked, defaults)).toHaveLength(10_003);
});
