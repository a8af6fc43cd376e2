/** What builds may be given: options of the builder. */
import { EngineError } from "../lib/errors.ts";
import type { Entitlement } from "../build/build-service.ts";
import type { DaemonOption } from "./options.ts";

const key = "builder-entitlements";
const names: readonly Entitlement[] = ["network.host", "security.insecure", "device"];
/** Docker: the host's network is granted, a privileged command is not, seen in 28.5. */
const granted: readonly Entitlement[] = ["network.host", "device"];
/** As daemon.json calls them. */
const fileNames: ReadonlyMap<string, Entitlement> = new Map(
  names.map((name) => [name.replace(".", "-"), name]),
);

/** The options. */
export const builderOptions: readonly DaemonOption[] = [
  {
    key,
    type: "list",
    flag: {
      name: "builder-entitlement",
      kind: "list",
      help: `What clients may let a Dockerfile do: ${names.join(", ")} (default ${granted.join(", ")})`,
    },
  },
];

/** What clients may grant to a Dockerfile. @throws invalid-argument for a name that is none */
export function entitlementsOf(values: ReadonlyMap<string, unknown>): ReadonlySet<Entitlement> {
  const given = values.get(key);
  if (!Array.isArray(given)) return new Set(granted);
  return new Set(
    given.map((text: unknown) => {
      const name = names.find((one) => one === text);
      if (name !== undefined) return name;
      throw new EngineError(
        "invalid-argument",
        `invalid ${key} ${JSON.stringify(text)}: one of ${names.join(", ")} is wanted`,
      );
    }),
  );
}

/** Docker: `{"builder": {"entitlements": {"security-insecure": true}}}` in daemon.json. */
export function withBuilder(
  entries: readonly (readonly [string, unknown])[],
): readonly (readonly [string, unknown])[] {
  return entries.flatMap(([name, value]) => {
    if (name !== "builder" || !isObject(value)) return [[name, value] as const];
    return Object.entries(value).map(([part, content]): readonly [string, unknown] =>
      part === "entitlements" && isObject(content)
        ? [key, listOf(content)]
        : [`builder.${part}`, content],
    );
  });
}

function listOf(switches: Readonly<Record<string, unknown>>): readonly string[] {
  const list = new Set<string>(granted);
  for (const [part, isOn] of Object.entries(switches)) {
    const name = fileNames.get(part);
    if (name === undefined || typeof isOn !== "boolean") {
      throw new EngineError(
        "invalid-argument",
        `builder.entitlements: ${JSON.stringify(part)} is none that is on or off`,
      );
    }
    if (isOn) list.add(name);
    else list.delete(name);
  }
  return [...list];
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
