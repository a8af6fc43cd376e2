/** `-v`: `target`, `source:target` or `source:target:options`. */
import { isAbsolute, resolve } from "node:path";
import { fault } from "./fault.ts";

/** What a `-v` asks for: a bind text for the engine, or a volume without a name. */
export type VolumeFlag =
  | { readonly kind: "bind"; readonly bind: string }
  | { readonly kind: "anonymous"; readonly target: string };

/** Reads one `-v`. Only its shape is checked here; the rest is the engine's. */
export function parseVolume(text: string): VolumeFlag {
  if (text === "") throw fault("invalid empty volume spec");
  if (!text.includes(":")) return { kind: "anonymous", target: text };
  const [source = "", ...rest] = text.split(":");
  if (source === "") throw fault(`invalid spec: ${text}: empty section between colons`);
  const isRelative = source.startsWith(".") && !isAbsolute(source);
  return { kind: "bind", bind: [isRelative ? resolve(source) : source, ...rest].join(":") };
}
