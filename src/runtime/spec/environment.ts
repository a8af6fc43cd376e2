/** PATH of a process that has none. */
export const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** What an environment is completed with. */
export interface EnvironmentDefaults {
  readonly hostname: string;
  readonly hasTty: boolean;
  readonly home: string;
}

/**
 * The environment of a container's process: the defaults, replaced and followed by what was asked.
 *
 * Of entries with one name the last counts, in the place of the first. An entry without `=` takes
 * the variable away.
 */
export function completeEnvironment(
  asked: readonly string[],
  defaults: EnvironmentDefaults,
): readonly string[] {
  const entries = new Map<string, string>([
    ["PATH", `PATH=${defaultPath}`],
    ["HOSTNAME", `HOSTNAME=${defaults.hostname}`],
  ]);
  if (defaults.hasTty) entries.set("TERM", "TERM=xterm");
  let isHomeAsked = false;
  for (const entry of asked) {
    const equals = entry.indexOf("=");
    const name = equals === -1 ? entry : entry.slice(0, equals);
    if (name === "HOME") isHomeAsked = true;
    if (equals === -1) entries.delete(name);
    else entries.set(name, entry);
  }
  // An OCI runtime adds HOME by itself when it is missing; told here it is the same in each.
  if (!isHomeAsked) entries.set("HOME", `HOME=${defaults.home}`);
  return [...entries.values()];
}
