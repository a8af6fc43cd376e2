import { listContainers } from "../../client/containers.ts";
import { listImages } from "../../client/images.ts";
import { listNetworks } from "../../client/networks.ts";
import { listVolumes } from "../../client/volumes.ts";
import { EngineError } from "../../lib/errors.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import type { CompletionSource, Invocation } from "../command.ts";
import { listContexts } from "../context/store.ts";
import { type Candidate, candidatesFor } from "./candidates.ts";

/** Longest list of names that is offered. */
const namesMax = 500;

/** What a completion needs of its surroundings. */
type Surroundings = Pick<Invocation, "environment" | "output" | "engine">;

/**
 * Prints what may stand at the cursor: a word and, after a tab, what it is; `:files` for files.
 *
 * @param words what is typed after the program's name, up to the cursor
 */
export async function complete(words: readonly string[], around: Surroundings): Promise<number> {
  const wanted = await candidatesFor(words);
  let candidates: readonly Candidate[] = wanted.candidates;
  if (wanted.source !== undefined) {
    candidates = [...candidates, ...(await namesFrom(wanted.source, around))];
  }
  const current = words.at(-1) ?? "";
  const lines = candidates
    .filter((candidate) => candidate.word.startsWith(current))
    .map(({ word, help }) => (help === "" ? `${word}\n` : `${word}\t${help}\n`));
  around.output.out(`${lines.join("")}${wanted.offersFiles ? ":files\n" : ""}`);
  return 0;
}

async function namesFrom(
  source: CompletionSource,
  around: Surroundings,
): Promise<readonly Candidate[]> {
  try {
    const names = await listNames(source, around);
    return names.slice(0, namesMax).map((name) => ({ word: escapeControls(name), help: "" }));
  } catch (error) {
    // A shell that completes is no place for failures: without an engine there are no names.
    if (error instanceof EngineError) return [];
    throw error;
  }
}

async function listNames(
  source: CompletionSource,
  around: Surroundings,
): Promise<readonly string[]> {
  switch (source) {
    case "containers":
    case "running": {
      const items = await listContainers(await around.engine(), {
        all: source === "containers",
      });
      return items.flatMap((item) => item.Names.map((name) => name.replace(/^\//, "")));
    }
    case "images":
      return (await listImages(await around.engine())).flatMap((image) => image.RepoTags ?? []);
    case "volumes":
      return (await listVolumes(await around.engine())).Volumes.map((one) => one.Name);
    case "networks":
      return (await listNetworks(await around.engine())).map((one) => one.Name);
    case "contexts":
      return listContexts(around.environment).map((one) => one.name);
    case "none":
      return [];
  }
}
