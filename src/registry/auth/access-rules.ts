/** Who may do what in which repository. */
import { EngineError } from "../../lib/errors.ts";

/** What may be done to a repository. */
export const repositoryActions = ["pull", "push", "delete"] as const;
/** One of `repositoryActions`. */
export type RepositoryAction = (typeof repositoryActions)[number];

/** Rules a file may have. */
const rulesMax = 10_000;
/** Wildcards of a pattern: what it takes to try a name grows with the power of their number. */
const wildcardsMax = 3;
const patternForm = /^(?:\*\*|[a-z0-9._/*-]{1,255})$/;

/** Somebody, or nobody in particular. */
export type User = string | undefined;

/** Decides. `undefined` is who has not logged in. */
export type AccessRules = (user: User, action: RepositoryAction, repository: string) => boolean;

interface Rule {
  readonly who: string;
  readonly pattern: RegExp;
  readonly actions: ReadonlySet<RepositoryAction>;
}

/** Without a file: users may do everything, others may pull when that is said. */
export function defaultRules(options: { readonly isAnonymousPull: boolean }): AccessRules {
  return (user, action) => user !== undefined || (action === "pull" && options.isAnonymousPull);
}

/**
 * Reads rules, one a line: `<who> <repositories> <actions>`.
 *
 * Who is a user's name, `*` for all users, or `anonymous` for who has not logged in (and for users
 * too). Repositories are a name in which `*` stands for anything without a slash, and `**` for anything;
 * `{user}` stands for the user's own name. Actions are `pull`, `push`, `delete`, joined by commas. What
 * no rule grants is denied.
 *
 * @throws invalid-argument naming the line
 */
export function parseAccessRules(text: string): AccessRules {
  const rules: Rule[] = [];
  const own: { readonly rule: Omit<Rule, "pattern">; readonly pattern: string }[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const words = line.replace(/#.*/, "").trim().split(/\s+/);
    if (words[0] === "") continue;
    const [who, pattern, list] = words;
    if (who === undefined || pattern === undefined || list === undefined || words.length > 3) {
      throw refused(index, "wanted <who> <repositories> <actions>");
    }
    if (!patternForm.test(pattern.replaceAll("{user}", "u"))) {
      throw refused(index, `${JSON.stringify(pattern)} is no pattern of repositories`);
    }
    if ((pattern.match(/\*+/g) ?? []).length > wildcardsMax) {
      throw refused(index, `${JSON.stringify(pattern)}: more than ${wildcardsMax} wildcards`);
    }
    const actions = new Set(list.split(",").map((word) => actionOf(word, index)));
    if (pattern.includes("{user}")) own.push({ rule: { who, actions }, pattern });
    else rules.push({ who, actions, pattern: expressionOf(pattern) });
    if (rules.length + own.length > rulesMax) throw refused(index, `more than ${rulesMax} rules`);
  }
  return (user, action, repository) => {
    const grants = (rule: Omit<Rule, "pattern">): boolean =>
      rule.actions.has(action) &&
      (rule.who === "anonymous" || (user !== undefined && (rule.who === "*" || rule.who === user)));
    if (rules.some((rule) => grants(rule) && rule.pattern.test(repository))) return true;
    if (user === undefined) return false;
    return own.some(
      ({ rule, pattern }) => grants(rule) && expressionOf(pattern, user).test(repository),
    );
  };
}

function actionOf(word: string, index: number): RepositoryAction {
  const action = repositoryActions.find((one) => one === word);
  if (action !== undefined) return action;
  throw refused(index, `${JSON.stringify(word)} is no action: pull, push, delete`);
}

/** Stars are wildcards; a user's name may have anything in it, and is taken literally, stars and all. */
function expressionOf(pattern: string, user = ""): RegExp {
  const source = pattern
    .split(/(\*+|\{user\})/)
    .map((part) => {
      if (part === "*") return "[^/]*";
      if (part === "{user}") return RegExp.escape(user);
      return /^\*+$/.test(part) ? ".*" : RegExp.escape(part);
    })
    .join("");
  return new RegExp(`^${source}$`);
}

function refused(index: number, problem: string): EngineError {
  return new EngineError("invalid-argument", `access rules, line ${index + 1}: ${problem}`);
}
