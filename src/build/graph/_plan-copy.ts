import { EngineError } from "../../lib/errors.ts";
import type { Instruction } from "../dockerfile/instruction.ts";
import { emptyStep, resolveTarget } from "./_planning.ts";
import { parseContextUrl } from "../source/context-url.ts";
import type { StagePlanner } from "./stage-planner.ts";
import type { CopyActionSource, Step } from "../step.ts";

type CopyInstruction = Extract<Instruction, { kind: "copy" | "add" }>;

/** Plans a COPY or an ADD. @throws invalid-argument */
export async function planCopy(stage: StagePlanner, instruction: CopyInstruction): Promise<void> {
  const { sources, target, chown, chmod, checksum } = instruction;
  const isRemote = (path: string): boolean =>
    instruction.kind === "add" && parseContextUrl(path, { allowsShortForm: false }) !== undefined;
  const remotes = sources.paths.filter(isRemote);
  const locals = sources.paths.filter((path) => !isRemote(path));
  if (checksum !== undefined && (remotes.length !== 1 || locals.length > 0)) {
    throw new EngineError(
      "invalid-argument",
      remotes.length === 0
        ? "checksum requires HTTP(S) or Git sources"
        : "checksum is only supported for a single remote source",
    );
  }
  const planned: CopyActionSource[] = [];
  // In the order of the instruction, what stands together of one kind at once.
  for (const path of remotes) planned.push(planRemote(stage, { instruction, path }));
  if (locals.length > 0) planned.push(await planLocal(stage, { instruction, paths: locals }));
  for (const { name, content } of sources.heredocs) {
    planned.push({ kind: "content", name, bytes: new TextEncoder().encode(content) });
  }
  const destination = resolveTarget(stage.draft.workingDir, target);
  const reads = planned.flatMap((source) => (source.kind === "files" ? [source.from] : []));
  stage.change(
    {
      kind: "copy",
      copy: {
        sources: planned,
        destination,
        ...(chown === undefined || chown === "" ? {} : { chown }),
        ...(chmod === undefined || chmod === "" ? {} : { chmod }),
      },
    },
    { instruction, reads },
  );
  stage.draft.note(`${historyText(instruction)} # buildkit`, { hasLayer: true });
}

/** @see BuildKit 0.29, dockerfile2llb, dispatchCopy */
function historyText(instruction: CopyInstruction): string {
  const { chown, chmod, sources, hasParents } = instruction;
  return [
    instruction.kind.toUpperCase(),
    ...(hasParents ? ["--parents"] : []),
    ...(chown === undefined || chown === "" ? [] : [`--chown=${chown}`]),
    ...(chmod === undefined || chmod === "" ? [] : [`--chmod=${chmod}`]),
    ...sources.paths,
    ...sources.heredocs.map(({ name }) => `<<${name}`),
    instruction.target,
  ].join(" ");
}

async function planLocal(
  stage: StagePlanner,
  options: { readonly instruction: CopyInstruction; readonly paths: readonly string[] },
): Promise<CopyActionSource> {
  const { instruction, paths } = options;
  const { from, excludes, hasParents } = instruction;
  const isAdd = instruction.kind === "add";
  const unpack = isAdd && instruction.unpack !== false ? "archives" : "never";
  return {
    kind: "files",
    from: await sourceStep(stage, { from, paths }),
    paths,
    excludes,
    hasParents,
    isLiteral: false,
    unpack,
    resetsOwners: from === undefined,
  };
}

async function sourceStep(
  stage: StagePlanner,
  wanted: { readonly from: string | undefined; readonly paths: readonly string[] },
): Promise<Step> {
  if (wanted.from === undefined || wanted.from === "") {
    return stage.addStep(stage.planner.input.sources.mainContext({ paths: wanted.paths }));
  }
  return (await stage.resolveFrom(wanted.from)) ?? emptyStep(stage.platform);
}

function planRemote(
  stage: StagePlanner,
  options: { readonly instruction: CopyInstruction; readonly path: string },
): CopyActionSource {
  const { instruction, path } = options;
  const { step, isGit } = stage.planner.input.sources.remote(path, {
    keepsGitDir: instruction.keepsGitDir,
    ...(instruction.checksum === undefined ? {} : { checksum: instruction.checksum }),
    platform: stage.platform,
  });
  return {
    kind: "files",
    from: stage.addStep(step),
    // A fetched file is alone in its folder.
    paths: [isGit ? "/" : "*"],
    excludes: instruction.excludes,
    hasParents: false,
    isLiteral: false,
    unpack: instruction.unpack === true ? "archives" : "never",
    resetsOwners: true,
  };
}
