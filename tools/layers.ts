/**
 * Fails when a folder of src/ imports a folder it may not, or another folder's private file.
 *
 * The folders of the table are those at the top of src/; a private file is its own folder's alone,
 * and a folder below or above is another.
 */
import { Glob } from "bun";

const table: Record<string, readonly string[]> = await Bun.file("tools/layers.json").json();

// A scan of the text: a scanner of the runtime's would drop type-only imports, and types are coupling.
const importPattern =
  /(?:^|\n)\s*(?:import|export)\b([^"';]*?)\bfrom\s*"(\.{1,2}\/[^"]+)"|\bimport\s*\(\s*"(\.{1,2}\/[^"]+)"/g;

/** The problems of one file, as sentences. */
export function checkFile(file: string, text: string): string[] {
  const parts = file.split("/");
  const from = parts[1] ?? "";
  const folder = parts.slice(0, -1).join("/");
  const allowed = table[from];
  if (allowed === undefined) return [`${file}: ${from} has no entry in tools/layers.json`];
  const problems: string[] = [];
  for (const [, clause = "", named, dynamic] of text.matchAll(importPattern)) {
    const target = new URL(named ?? dynamic ?? "", `file:///${file}`).pathname.slice(1).split("/");
    const to = target[1] ?? "";
    // What lies outside of src/, as package.json, belongs to no folder.
    if (target[0] !== "src") continue;
    const isType = /^\s*type\b/.test(clause);
    const isAllowed = to === from || allowed.includes(to);
    const owner = target.slice(0, -1).join("/");
    if (!isAllowed && !(isType && allowed.includes(`${to}:type`))) {
      const only = allowed.includes(`${to}:type`) ? " anything but types from" : "";
      problems.push(`${file}: ${from} may not import${only} ${to}`);
    } else if (target.at(-1)?.startsWith("_") && owner !== folder) {
      problems.push(`${file}: ${target.join("/")} is private to ${owner}`);
    }
  }
  return problems;
}

if (import.meta.main) {
  const problems: string[] = [];
  let scannedCount = 0;
  for await (const file of new Glob("src/**/*.ts").scan(".")) {
    scannedCount += 1;
    problems.push(...checkFile(file, await Bun.file(file).text()));
  }
  // An empty scan is a broken check, not a clean tree.
  if (scannedCount === 0) problems.push("no source file was scanned");
  for (const problem of problems) console.error(problem);
  console.log(`layers: ${scannedCount} files, ${problems.length} problems`);
  process.exit(problems.length === 0 ? 0 : 1);
}
