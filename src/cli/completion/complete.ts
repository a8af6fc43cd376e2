import { listContainers } from "../../client/containers.ts";
import { listImages } from "../../client/images.ts";
import { listNetworks } from "../../client/networks.ts";
import { listVolumes } from "../../client/volumes.ts";
import { EngineError } from "../../lib/errors.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { atLeast, type Command, type CompletionSource, type Invocation } from "../command.ts";
import { listContexts } from "../context/store.ts";
import { type Candidate, candidatesFor } from "./candidates.ts";

/** Longest list of names that is offered. */
const namesMax = 500;

/** Prints what may stand at the cursor: a word and, after a tab, what it is. */
export const command: Command = {
  usage: "-- WORD...",
  operands: atLeast(0),
  flags: [],
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { operands, output } = invocation;
  const wanted = await candidatesFor(operands);
  let candidates: readonly Candidate[] = wanted.candidates;
  if (wanted.source !== undefined) {
    candidates = [...candidates, ...(await namesFrom(wanted.source, invocation))];
  }
  const current = operands.at(-1) ?? "";
  const lines = candidates
    .filter((candidate) => candidate.word.startsWith(current))
    .map(({ word, help }) => (help === "" ? `${word}\n` : `${word}\t${help}\n`));
  output.out(`${lines.join("")}${wanted.offersFiles ? ":files\n" : ""}`);
  return 0;
}

async function namesFrom(
  source: CompletionSource,
  invocation: Invocation,
): Promise<readonly Candidate[]> {
  try {
    const names = await listNames(source, invocation);
    return names.slice(0, namesMax).map((name) => ({ word: escapeControls(name), help: "" }));
  } catch (error) {
    // A shell that completes is no place for failures: without an engine there are no names.
    if (error instanceof EngineError) return [];
    throw error;
  }
}

async function listNames(
  source: CompletionSource,
  invocation: Invocation,
): Promise<readonly string[]> {
  switch (source) {
    case "containers":
    case "running": {
      const items = await listContainers(await invocation.engine(), {
        all: source === "containers",
      });
      return items.flatMap((item) => item.Names.map((name) => name.replace(/^\//, "")));
    }
    case "images":
      return (await listImages(await invocation.engine())).flatMap((image) => image.RepoTags ?? []);
    case "volumes":
      return (await listVolumes(await invocation.engine())).Volumes.map((one) => one.Name);
    case "networks":
      return (await listNetworks(await invocation.engine())).map((one) => one.Name);
    case "contexts":
      return listContexts(invocation.environment).map((one) => one.name);
    case "none":
      return [];
  }
}
