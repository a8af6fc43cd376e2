/** Keeps the documents true: what they list is compared with what there is. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { routes } from "../src/api/route-table.ts";
import { commands } from "../src/cli/commands.ts";
import * as exitCodes from "../src/cli/errors.ts";
import { EngineError, errorKinds } from "../src/lib/errors.ts";
import { statusOfKind } from "../src/server/errors.ts";
import packageJson from "../package.json" with { type: "json" };
import {
  compatibilityPath,
  findRefusals,
  isServed,
  renderCompatibility,
  updateCommand,
} from "./compatibility.ts";
import { tidyFile } from "./tidy.ts";

const read = (path: string): string => readFileSync(path, "utf8");

const decisions = readdirSync("docs/decisions").toSorted();
const documents = [
  ...readdirSync(".").filter((name) => name.endsWith(".md")),
  ...readdirSync("docs")
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
  ...decisions.map((name) => `docs/decisions/${name}`),
];

/** First cells of a document's tables, without their code marks. */
function firstCells(text: string): readonly string[] {
  return [...text.matchAll(/^\| `?([^`|]+?)`? \|/gm)].map(([, cell = ""]) => cell);
}

test("the documents there should be are there", () => {
  const wanted = ["README", "ARCHITECTURE", "GLOSSARY", "STYLE", "SCOPE"].map(
    (name) => `${name}.md`,
  );
  expect(documents).toEqual(expect.arrayContaining(wanted));
  expect(decisions.length).toBeGreaterThan(10);
});

describe("every document", () => {
  for (const path of documents) {
    test(`${path}: links lead somewhere`, () => {
      for (const [, target = ""] of read(path).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
        if (/^https?:/.test(target)) continue;
        const file = join(dirname(path), target);
        expect({ target, exists: existsSync(file) }).toEqual({ target, exists: true });
      }
    });

    test(`${path}: paths of the project that it names are there`, () => {
      const named = /`((?:src|tools|docs|test|bench|bin|packaging)\/[\w./-]*[\w/])`/g;
      for (const [, file = ""] of read(path).matchAll(named)) {
        expect({ file, exists: existsSync(file) }).toEqual({ file, exists: true });
      }
    });

    test(`${path}: symbols that it puts beside a file are in that file`, () => {
      const named = /`(#?[A-Za-z]+)`(?:,\s*`(#?[A-Za-z]+)`)? (?:of|in) `(src\/[\w./-]+\.ts)`/g;
      for (const [, one = "", other = "", file = ""] of read(path).matchAll(named)) {
        for (const symbol of [one, other]) expect(read(file)).toContain(symbol);
      }
    });

    test(`${path}: has one title, short lines, and speaks of the project alone`, () => {
      const text = read(path);
      expect(text.match(/^# /gm)).toHaveLength(1);
      expect(tidyFile(path, text)).toEqual([]);
      const isWritten = path !== compatibilityPath;
      const long = text.split("\n").filter((line) => line.length > 115 && !line.startsWith("|"));
      if (isWritten) expect(long).toEqual([]);
    });
  }

  test("fits the pages that are meant for it", () => {
    const pageLines = 62;
    const limits = { "ARCHITECTURE.md": 3, "STYLE.md": 3, "SCOPE.md": 1, "README.md": 2 };
    for (const [path, pages] of Object.entries(limits)) {
      expect(read(path).split("\n").length).toBeLessThanOrEqual(pages * pageLines);
    }
    for (const name of decisions) {
      expect(read(`docs/decisions/${name}`).split("\n").length).toBeLessThanOrEqual(pageLines);
    }
  });
});

test("ARCHITECTURE lists the folders of src/, and no others", () => {
  const listed = firstCells(read("ARCHITECTURE.md")).flatMap(
    (cell) => /^src\/([a-z]+)\/$/.exec(cell)?.[1] ?? [],
  );
  const there = readdirSync("src").filter(
    (name) => statSync(`src/${name}`).isDirectory() && readdirSync(`src/${name}`).length > 0,
  );
  expect(listed.toSorted()).toEqual(there.toSorted());
  const table: Record<string, unknown> = JSON.parse(read("tools/layers.json"));
  for (const folder of there) expect(Object.keys(table)).toContain(folder);
});

test("ARCHITECTURE sends readers of a folder to a file that it has", () => {
  const rows = [
    ...read("ARCHITECTURE.md").matchAll(/^\| `(src\/[a-z]+\/)` \|.*\| `([^`]+)` \|$/gm),
  ];
  expect(rows.length).toBeGreaterThan(10);
  for (const [, folder = "", file = ""] of rows) expect(existsSync(folder + file)).toBe(true);
});

test("GLOSSARY defines no word twice, each by something", () => {
  const rows = read("GLOSSARY.md")
    .split("\n")
    .filter((line) => line.startsWith("| **"));
  const words = rows.map((row) => row.split("|")[1]?.trim());
  expect(rows.length).toBeGreaterThan(30);
  expect(new Set(words).size).toBe(words.length);
  for (const row of rows) {
    const cells = row.split("|").slice(1, -1);
    expect(cells).toHaveLength(4);
    for (const cell of cells) expect(cell.trim()).not.toBe("");
  }
});

test("each decision has a number, and says problem, options, choice and price", () => {
  for (const [index, name] of decisions.entries()) {
    const number = String(index + 1).padStart(3, "0");
    expect(name).toMatch(new RegExp(`^${number}-[a-z0-9-]+\\.md$`));
    const text = read(`docs/decisions/${name}`);
    expect(text).toStartWith(`# ${number} `);
    const heads = [...text.matchAll(/^## (.*)$/gm)].map(([, head]) => head);
    expect(heads).toEqual(["Problem", "Options", "Choice", "Price"]);
  }
});

test("docs/errors.md has every kind with its status and exit code", () => {
  const rows = [...read("docs/errors.md").matchAll(/^\| `([a-z-]+)` \| (\d+) \| (\d+) \| \S/gm)];
  const told = rows.map(([, kind, status, code]) => [kind, Number(status), Number(code)]);
  const wanted = errorKinds.map((kind) => [
    kind,
    statusOfKind[kind],
    exitCodes.exitCodeOf(new EngineError(kind, "x")),
  ]);
  expect(told).toEqual(wanted);
});

test("docs/errors.md has every exit code that the command line names", () => {
  const text = read("docs/errors.md");
  const codes = Object.entries(exitCodes).flatMap(([name, value]) =>
    typeof value === "number" ? [[name, value] as const] : [],
  );
  expect(codes.length).toBeGreaterThan(4);
  for (const [name, code] of codes) {
    expect({ name, isTold: text.includes(`\n| ${code} | `) }).toEqual({ name, isTold: true });
  }
});

describe("docs/compatibility.md", () => {
  test(`is what is generated; else run: ${updateCommand}`, async () => {
    expect(read(compatibilityPath)).toBe(await renderCompatibility());
  });

  test("tells of every operation", () => {
    const text = read(compatibilityPath);
    for (const { method, path } of routes) expect(text).toContain(`\`${method} ${path}\``);
  });

  test("tells of every command", () => {
    const text = read(compatibilityPath);
    const visible = commands.filter(({ isHidden }) => isHidden !== true);
    expect(visible.length).toBeGreaterThan(30);
    for (const { names } of visible) {
      const [name = ""] = names;
      expect(text.includes(`\`tug ${name}\``) || text.includes(`\`${name}\``)).toBe(true);
    }
  });

  test("what the table of operations claims is what the server does", () => {
    const wrong = routes.filter((route) => isServed(route) !== (route.status === "implemented"));
    expect(wrong.map(({ name, status }) => `${name}: ${status}`)).toEqual([]);
  });

  test("refusals were really found", async () => {
    const { fields, sentences } = await findRefusals();
    expect(fields).toContain("HostConfig.Links");
    expect(fields).toContain("Config.Healthcheck");
    expect(sentences.length).toBeGreaterThan(3);
  });
});

describe("README.md", () => {
  const text = read("README.md");

  test("names only npm scripts that there are", () => {
    const scripts = [...text.matchAll(/npm (?:run )?([a-z]+)/g)].map(([, name = ""]) => name);
    const called = scripts.filter((name) => Object.hasOwn(packageJson.scripts, name));
    for (const name of ["test", "ok", "bench", "build"]) expect(called).toContain(name);
    for (const [, name = ""] of text.matchAll(/`npm run ([a-z]+)`/g)) {
      expect(Object.keys(packageJson.scripts)).toContain(name);
    }
  });

  test("says under which license it is, as the package does", () => {
    expect(packageJson.license).toBe("Apache-2.0");
    expect(read("LICENSE")).toContain("Apache License");
    expect(text).toContain("Apache License 2.0");
  });

  test("asks for what the program needs", () => {
    const bootstrap = read("tools/bootstrap.mjs");
    for (const name of ["crun", "nftables", "busybox-static"]) {
      expect(bootstrap).toContain(`"${name}"`);
      expect(text).toContain(name);
    }
  });

  test("its picture is one, and holds no program", () => {
    const svg = read("docs/terminal.svg");
    expect(svg).toStartWith("<svg ");
    expect(svg).not.toMatch(/<script|\son[a-z]+=|href=/);
    expect(svg.match(/<text y=/g)?.length).toBeGreaterThan(5);
  });
});
