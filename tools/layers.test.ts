import { expect, test } from "bun:test";
import { checkFile } from "./layers.ts";

const accepted = [
  ["src/content/x.ts", 'import { a } from "../lib/errors.ts";'],
  ["src/content/x.ts", 'import { a } from "./_private.ts";'],
  ["src/lib/tar/x.ts", 'import { a } from "./_private.ts";'],
  ["src/lib/tar/x.ts", 'import { a } from "../errors.ts";'],
  ["src/container/x.ts", 'import type { A } from "../api/container.ts";'],
] as const;

const refused = [
  ["src/lib/x.ts", 'import { a } from "../oci/digest.ts";', "lib may not import oci"],
  ["src/container/x.ts", 'import { a } from "../api/container.ts";', "anything but types"],
  ["src/cli/x.ts", 'await import("../daemon/daemon.ts");', "cli may not import daemon"],
  ["src/image/x.ts", 'export { a } from "../server/http.ts";', "image may not import server"],
  ["src/image/x.ts", 'import {\n a,\n} from "../content/_hidden.ts";', "is private to src/content"],
  ["src/lib/x.ts", 'import { a } from "./tar/_hidden.ts";', "is private to src/lib/tar"],
  ["src/lib/tar/x.ts", 'import type { A } from "../_hidden.ts";', "is private to src/lib"],
  ["src/plumbing/x.ts", "", "has no entry"],
] as const;

for (const [file, text] of accepted) {
  test(`checkFile() accepts ${text} in ${file}`, () => expect(checkFile(file, text)).toEqual([]));
}
for (const [file, text, reason] of refused) {
  test(`checkFile() refuses ${text} in ${file}`, () => {
    expect(checkFile(file, text).join("\n")).toContain(reason);
  });
}
