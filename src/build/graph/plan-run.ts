import { posix } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import type { CommandLine, Heredoc, Instruction, RunMount } from "../dockerfile/instruction.ts";
import { emptyStep, resolveTarget } from "./_planning.ts";
import type { StagePlanner } from "./stage-planner.ts";
import type { RunAction, RunMountAction, Step } from "../step.ts";

type RunInstruction = Extract<Instruction, { kind: "run" }>;

/** Where scripts with an interpreter line of their own are shown to it. */
export const scriptFolder = "/dev/pipes";

const secretModeDefault = 0o400;
const socketModeDefault = 0o600;
const cacheModeDefault = 0o755;
const proxyNames = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/** Plans a RUN. @throws invalid-argument */
export async function planRun(stage: StagePlanner, instruction: RunInstruction): Promise<void> {
  const { input } = stage.planner;
  const command = commandOf(stage, instruction.command);
  const network = instruction.network === "default" ? input.network : instruction.network;
  refuseWithoutLeave(stage, { network, isInsecure: instruction.security === "insecure" });
  if (instruction.devices.length > 0) {
    throw new EngineError("not-implemented", "RUN --device: devices are not given to builds yet");
  }
  const mounts: RunMountAction[] = [];
  for (const [index, mount] of instruction.mounts.entries()) {
    mounts.push(await planMount(stage, { mount, index }));
  }
  refuseSameTargets(mounts);
  const agent = mounts.find((mount) => mount.kind === "ssh");
  const run: RunAction = {
    args: command.args,
    env: Array.from(stage.env, ([name, value]) => `${name}=${value}`),
    hiddenEnv: [
      ...proxyEnv(input.args),
      ...(agent?.kind === "ssh" ? [`SSH_AUTH_SOCK=${agent.target}`] : []),
    ],
    workingDir: stage.draft.workingDir,
    user: stage.draft.user,
    network,
    isInsecure: instruction.security === "insecure",
    mounts,
    extraHosts: input.extraHosts,
    ...hostnameOf(input.args),
    ...(command.script === undefined ? {} : { script: command.script }),
  };
  const reads = mounts.flatMap((mount) =>
    (mount.kind === "bind" || mount.kind === "cache") && mount.from !== undefined
      ? [mount.from]
      : [],
  );
  stage.change({ kind: "run", run }, { instruction, reads, shown: command.shown(instruction) });
  stage.draft.note(`RUN ${historyText(stage, command.args)} # buildkit`, { hasLayer: true });
}

interface PlannedCommand {
  readonly args: readonly string[];
  readonly script?: { readonly name: string; readonly content: string };
  readonly shown: (instruction: RunInstruction) => string;
}

/** @see BuildKit 0.29, dockerfile2llb, dispatchRun */
function commandOf(stage: StagePlanner, command: CommandLine): PlannedCommand {
  const plain = (instruction: RunInstruction): string => instruction.original;
  if (command.form === "exec") return { args: command.args, shown: plain };
  const [first] = command.heredocs;
  if (first === undefined) return { args: [...stage.draft.shell, command.text], shown: plain };
  const isAlone = /^<<-?\s*(["']?)[^\s"'<]+\1\s*$/.test(command.text.trim());
  if (!isAlone) {
    // The shell takes the tabs away itself.
    const bodies = command.heredocs.map(
      ({ content, written, name }) => `\n${written ?? content}${name}`,
    );
    return { args: [...stage.draft.shell, command.text + bodies.join("")], shown: plain };
  }
  const shown = (instruction: RunInstruction): string =>
    `${instruction.original} (${summaryOf(first)})`;
  if (!first.content.startsWith("#!")) {
    return { args: [...stage.draft.shell, first.content], shown };
  }
  return {
    args: [...stage.draft.shell, posix.join(scriptFolder, first.name)],
    script: { name: first.name, content: first.content },
    shown,
  };
}

function summaryOf({ content }: Heredoc): string {
  const [first = "", ...more] = content.trim().replaceAll("\r\n", "\n").split("\n");
  return more.length > 0 ? `${first}...` : first;
}

/** As in the history: `|2 A=1 B=2 /bin/sh -c make`. */
function historyText(stage: StagePlanner, args: readonly string[]): string {
  const declared = Array.from(
    stage.declared,
    ([name, value]) => `${name}=${stage.env.get(name) ?? value ?? ""}`,
  );
  const head = declared.length === 0 ? [] : [`|${declared.length}`, ...declared];
  return [...head, ...args].join(" ");
}

function hostnameOf(args: ReadonlyMap<string, string>): { readonly hostname?: string } {
  const hostname = args.get("BUILDKIT_SANDBOX_HOSTNAME") ?? "";
  if (hostname === "") return {};
  if (/^[A-Za-z0-9_.-]{1,63}$/.test(hostname)) return { hostname };
  throw new EngineError("invalid-argument", `invalid hostname: ${JSON.stringify(hostname)}`);
}

function proxyEnv(args: ReadonlyMap<string, string>): readonly string[] {
  return proxyNames.flatMap((name) => {
    const value = args.get(name) ?? args.get(name.toLowerCase());
    return value === undefined ? [] : [`${name}=${value}`, `${name.toLowerCase()}=${value}`];
  });
}

function refuseWithoutLeave(
  stage: StagePlanner,
  wanted: { readonly network: string; readonly isInsecure: boolean },
): void {
  const { allows } = stage.planner.input;
  const missing =
    wanted.network === "host" && !allows.has("network.host")
      ? "network.host"
      : wanted.isInsecure && !allows.has("security.insecure")
        ? "security.insecure"
        : undefined;
  if (missing === undefined) return;
  throw new EngineError("invalid-argument", `failed to load LLB: ${missing} is not allowed`);
}

function refuseSameTargets(mounts: readonly RunMountAction[]): void {
  const seen = new Set<string>();
  for (const mount of mounts) {
    if (mount.kind === "secret" && mount.target === undefined) continue;
    const target = mount.target ?? "";
    if (seen.has(target) && mount.kind !== "secret") {
      throw new EngineError("invalid-argument", `duplicate mount target ${JSON.stringify(target)}`);
    }
    seen.add(target);
  }
}

async function planMount(
  stage: StagePlanner,
  { mount, index }: { readonly mount: RunMount; readonly index: number },
): Promise<RunMountAction> {
  const target = targetOf(stage, mount);
  const source = posix.join("/", mount.source ?? "/");
  const owner = { uid: mount.uid ?? 0, gid: mount.gid ?? 0 };
  const isRequired = mount.isRequired ?? false;
  switch (mount.type) {
    case "bind":
      return {
        kind: "bind",
        target: required(target, mount),
        from: await mountSource(stage, { from: mount.from, source }),
        source,
        isReadOnly: mount.isReadOnly,
      };
    case "cache": {
      const from =
        mount.from === undefined
          ? {}
          : { from: await mountSource(stage, { from: mount.from, source }) };
      return {
        kind: "cache",
        target: required(target, mount),
        id: posix.join(
          "/",
          stage.planner.input.args.get("BUILDKIT_CACHE_MOUNT_NS") ?? "",
          mount.id ?? required(target, mount),
        ),
        sharing: mount.sharing ?? "shared",
        isReadOnly: mount.isReadOnly,
        ...from,
        source,
        mode: mount.mode ?? cacheModeDefault,
        ...owner,
      };
    }
    case "tmpfs":
      return {
        kind: "tmpfs",
        target: required(target, mount),
        ...(mount.sizeBytes === undefined ? {} : { sizeBytes: mount.sizeBytes }),
      };
    case "secret":
      return planSecret(mount, { target, isRequired, owner });
    case "ssh":
      return {
        kind: "ssh",
        id: mount.id ?? "default",
        target: target ?? `/run/buildkit/ssh_agent.${index}`,
        isRequired,
        mode: mount.mode ?? socketModeDefault,
        ...owner,
      };
  }
}

function planSecret(
  mount: RunMount,
  options: {
    readonly target: string | undefined;
    readonly isRequired: boolean;
    readonly owner: { readonly uid: number; readonly gid: number };
  },
): RunMountAction {
  const id = mount.id ?? mount.source ?? (options.target && posix.basename(options.target));
  if (id === undefined || id === "") {
    throw new EngineError("invalid-argument", "one of source, target required");
  }
  const target =
    options.target ?? (mount.env === undefined ? `/run/secrets/${posix.basename(id)}` : undefined);
  return {
    kind: "secret",
    id,
    ...(target === undefined ? {} : { target }),
    ...(mount.env === undefined ? {} : { env: mount.env }),
    isRequired: options.isRequired,
    mode: mount.mode ?? secretModeDefault,
    ...options.owner,
  };
}

async function mountSource(
  stage: StagePlanner,
  wanted: { readonly from: string | undefined; readonly source: string },
): Promise<Step> {
  if (wanted.from === undefined) {
    return stage.addStep(stage.planner.input.sources.mainContext({ paths: [wanted.source] }));
  }
  return (await stage.resolveFrom(wanted.from)) ?? emptyStep(stage.platform);
}

function targetOf(stage: StagePlanner, mount: RunMount): string | undefined {
  if (mount.target === undefined || mount.target === "") return undefined;
  const target = resolveTarget(stage.draft.workingDir, mount.target).replace(/(.)\/$/, "$1");
  if (target === "/") {
    throw new EngineError(
      "invalid-argument",
      `invalid mount target ${JSON.stringify(mount.target)}`,
    );
  }
  return target;
}

function required(target: string | undefined, mount: RunMount): string {
  if (target !== undefined) return target;
  throw new EngineError("invalid-argument", `${mount.type} mount needs a target`);
}
