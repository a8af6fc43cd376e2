import { describe, expect, test } from "bun:test";
import { defaultRules, parseAccessRules, type RepositoryAction } from "./access-rules.ts";

const rules = parseAccessRules(`
# who        repositories   what
admin        **             pull,push,delete
*            shared/*       pull,push
*            home/{user}/** pull,push,delete
anonymous    public/**      pull
build-bot    *-ci           push   # nothing else
`);

describe("access rules", () => {
  test.each([
    ["admin", "delete", "any/thing", true],
    ["ann", "push", "shared/x", true],
    ["ann", "push", "shared/x/y", false],
    ["ann", "delete", "shared/x", false],
    ["ann", "delete", "home/ann/x", true],
    ["ann", "pull", "home/bob/x", false],
    ["ann", "pull", "public/a/b", true],
    [undefined, "pull", "public/a/b", true],
    [undefined, "push", "public/a/b", false],
    [undefined, "pull", "shared/x", false],
    [undefined, "pull", "home/undefined/x", false],
    ["build-bot", "push", "web-ci", true],
    ["build-bot", "pull", "web-ci", false],
    ["build-bot", "push", "a/web-ci", false],
    // A name is no pattern, whatever is in it.
    [".*", "pull", "home/ann/x", false],
    ["a(", "pull", "home/ann/x", false],
  ] as const)("%p may %s %s: %p", (user, action, repository, expected) => {
    expect(rules(user, action, repository)).toBe(expected);
  });

  test.each([
    ["ann", "line 1: wanted"],
    ["ann x", "line 1: wanted"],
    ["ann x pull more", "line 1: wanted"],
    ["ann x fly", '"fly" is no action'],
    ["ann x pull,", '"" is no action'],
    ["\nann X pull", "line 2"],
    ["ann a..(b pull", "no pattern"],
    ["ann *a*a*a* pull", "wildcards"],
  ])("%p is refused", (text, sentence) => {
    expect(() => parseAccessRules(text)).toThrow(sentence);
  });

  test.each(["*", "**", "a*", "$&", "$'", "$`", "(.*)", "ann|bob", "."])(
    "take the user's name %s literally",
    (user) => {
      for (const name of ["home/ann/app", "home/a/app", "home//app", "home/x/app"]) {
        expect(rules(user, "push", name)).toBe(false);
      }
      expect(rules(user, "push", `home/${user}/app`)).toBe(true);
    },
  );

  test("the slowest pattern takes no time to speak of", () => {
    const slow = parseAccessRules("ann *a*a* pull");
    const startMs = performance.now();
    expect(slow("ann", "pull", `${"a".repeat(250)}/b`)).toBe(false);
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });

  test("without rules users may do everything, others what is said", () => {
    const actions: readonly RepositoryAction[] = ["pull", "push", "delete"];
    const may = (isAnonymousPull: boolean, user: string | undefined): readonly boolean[] =>
      actions.map((action) => defaultRules({ isAnonymousPull })(user, action, "x"));
    expect(may(false, "ann")).toEqual([true, true, true]);
    expect(may(false, undefined)).toEqual([false, false, false]);
    expect(may(true, undefined)).toEqual([true, false, false]);
  });
});
