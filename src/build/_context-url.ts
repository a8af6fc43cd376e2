import type { ContextUrl } from "./source/source.ts";

/** What a text names, of those things that are fetched; undefined for a path. */
export function parseContextUrl(text: string): ContextUrl | undefined {
  if (/^(?:git@|git:\/\/|ssh:\/\/)/.test(text) || /^https?:\/\/[^#?]+\.git(?:#|\?|$)/.test(text)) {
    const [remote = "", fragment = ""] = text.split("#");
    const [ref = "", subdir = ""] = fragment.split(":");
    return {
      kind: "git",
      remote,
      ...(ref === "" ? {} : { ref }),
      ...(subdir === "" ? {} : { subdir }),
    };
  }
  return /^https?:\/\//.test(text) ? { kind: "http", url: text } : undefined;
}
