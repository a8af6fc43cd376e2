import { describe, expect, test } from "bun:test";
import { adjectives, surnames } from "./_name-words.ts";
import { NameIndex, parseName, resolveId } from "./names.ts";

describe("parseName()", () => {
  test.each(["ab", "a.b_c-d", "0x", "/web"])("takes %j", (name) => {
    expect(parseName(name)).toBe(name.replace("/", ""));
  });
  test.each(["", "a", "-a", "/-x", "a b", "a/b", "ä1", "a\u001b[0m", "x".repeat(300), "a\n"])(
    "refuses %j in Docker's words",
    (name) => {
      expect(() => parseName(name)).toThrow(
        `Invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
      );
    },
  );
});

describe("NameIndex", () => {
  test("makes up names from many words, with a digit when they run out", () => {
    expect(new Set(adjectives).size).toBeGreaterThanOrEqual(100);
    expect(new Set(surnames).size).toBeGreaterThanOrEqual(200);
    for (const word of [...adjectives, ...surnames]) expect(word).toMatch(/^[a-z]+$/);
    const names = new NameIndex();
    const first = names.reserveAny("1", () => 0);
    expect(parseName(first)).toBe(first);
    expect(names.reserveAny("2", (below) => (below > 300 ? 0 : below === 10 ? 7 : 0))).toBe(
      `${first}7`,
    );
  });

  test("gives a name to one alone, until it is given back", () => {
    const names = new NameIndex();
    names.reserve("web", "1");
    names.reserve("web", "1");
    expect(() => names.reserve("web", "2")).toThrow(
      'The container name "/web" is already in use by container "1"',
    );
    names.release("web", "2");
    expect(names.find("web")).toBe("1");
    names.release("web", "1");
    names.reserve("web", "2");
  });
});

describe("resolveId()", () => {
  const one = `aa${"0".repeat(62)}`;
  const two = `ab${"0".repeat(62)}`;
  const names = new NameIndex();
  names.reserve("ab", one);
  const known = {
    ids: new Map([
      [one, 1],
      [two, 2],
    ]),
    names,
  };
  const rows: readonly (readonly [string, string])[] = [
    [one, one],
    ["aa", one],
    ["ab", one],
    ["/ab", one],
    ["ab0", two],
  ];
  test.each([...rows])("%j means %j", (reference, id) => {
    expect(resolveId(reference, known)).toBe(id);
  });
  test("tells an ambiguous prefix from an unknown name", () => {
    expect(() => resolveId("a", known)).toThrow("multiple IDs found with provided prefix: a");
    for (const reference of ["b", "", "zzz", "../x"]) {
      expect(() => resolveId(reference, known)).toThrow(`No such container: ${reference}`);
    }
  });
});
