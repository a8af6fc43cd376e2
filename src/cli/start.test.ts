/**
 * What short commands load before they do anything. Each module is some 20 µs of every call, and the
 * modules of Node are worth a look each: node:fs takes 1 ms, node:net and node:tty 2 ms together.
 */
import { beforeAll, expect, test } from "bun:test";
import { join } from "node:path";

const checkout = join(import.meta.dir, "../..");
/** By file: what it imports when it is loaded, from the program itself or not. */
const imports = new Map<string, readonly string[]>();

beforeAll(async () => {
  const result = await Bun.build({
    entrypoints: [join(checkout, "src/main.ts")],
    root: join(checkout, "src"),
    target: "bun",
    format: "esm",
    splitting: true,
    metafile: true,
  });
  for (const [file, input] of Object.entries(result.metafile?.inputs ?? {})) {
    const loaded = input.imports.filter((one) => one.kind === "import-statement");
    imports.set(
      relativeOf(file),
      loaded.map((one) => relativeOf(one.path)),
    );
  }
});

/** Paths come relative to the working folder, which need not be the checkout. */
function relativeOf(path: string): string {
  const at = path.indexOf("src/");
  return at < 0 ? path : path.slice(at);
}

function loadedBy(...entries: readonly string[]): ReadonlySet<string> {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const next of imports.get(file) ?? []) visit(next);
  };
  for (const entry of entries) visit(entry);
  return seen;
}

const start = ["src/main.ts", "src/cli/cli.ts"];
const isForeign = (file: string): boolean => !file.startsWith("src/");

test.each([
  ["container/ls.ts", 40, ["bun:ffi"]],
  ["image/ls.ts", 45, ["bun:ffi"]],
  ["system/version.ts", 55, ["bun:ffi", "package.json"]],
  ["container/run.ts", 75, ["bun:ffi", "path"]],
] as const)("%s loads at most %d modules, and of others' only %p", (file, countMax, foreign) => {
  const loaded = loadedBy(...start, `src/cli/${file}`);
  expect(loaded.size).toBeGreaterThan(20);
  expect([...loaded].filter(isForeign).toSorted()).toEqual([...foreign]);
  expect(loaded.size).toBeLessThanOrEqual(countMax);
});

test("the command line loads no command but the one that is called", () => {
  const commands = [...loadedBy(...start)].filter((file) =>
    /^src\/cli\/(?:build|container|context|image|manifest|network|registry|system|volume)\//.test(
      file,
    ),
  );
  expect(commands).toEqual([]);
});

test.each([
  ["src/runtime/seccomp/seccomp-main.ts"],
  ["src/runtime/shim/shim-main.ts"],
  ["src/snapshot/unpack/unpack-main.ts"],
  ["src/snapshot/diff/diff-main.ts"],
  ["src/build/copy/copy-main.ts"],
])("%s loads no network, terminal or processes of Node", (file) => {
  const foreign = [...loadedBy("src/main.ts", file)].filter(isForeign);
  for (const module of [
    "net",
    "tls",
    "tty",
    "http",
    "https",
    "http2",
    "readline",
    "child_process",
  ]) {
    expect(foreign).not.toContain(module);
  }
});
