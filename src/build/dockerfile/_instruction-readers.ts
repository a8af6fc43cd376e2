/** From an instruction in words to what it means, one function for each kind. */
import { findGoBool } from "../../lib/go-bool.ts";
import { parseDuration } from "../../lib/time.ts";
import { type FlagTable, parseFlags } from "./_flags.ts";
import { quote, trimSpace } from "./go-text.ts";
import { findHeredocMark } from "./_heredoc.ts";
import { findKind, instructionKinds, type Node } from "./_node.ts";
import { refuse } from "./refusal.ts";
import { parseRunMount, splitFields } from "./_run-mount.ts";
import { hintCaseless } from "./suggest.ts";
import type { CommandLine, CopySources, Heredoc, Instruction } from "./instruction.ts";

type Of<Kind extends Instruction["kind"]> = Extract<Instruction, { kind: Kind }>;
type At = Pick<Instruction, "location" | "original" | "comments">;

/** Shortest time between two checks. Docker, container.MinimumDuration */
const healthIntervalMinNs = 1_000_000n;
const int32Max = 2 ** 31 - 1;

const copyFlags: FlagTable = {
  chown: "text",
  chmod: "text",
  link: "bool",
  from: "text",
  parents: "bool",
  exclude: "texts",
};
const addFlags: FlagTable = {
  chown: "text",
  chmod: "text",
  link: "bool",
  "keep-git-dir": "bool",
  checksum: "text",
  unpack: "bool",
  exclude: "texts",
};
const runFlags: FlagTable = {
  mount: "texts",
  network: "text",
  security: "text",
  device: "texts",
};
const healthFlags: FlagTable = {
  interval: "text",
  timeout: "text",
  "start-period": "text",
  "start-interval": "text",
  retries: "text",
};
const networks = ["default", "none", "host"] as const;
const securities = ["sandbox", "insecure"] as const;

/** Reads what an instruction means. @throws invalid-argument in BuildKit's words, without the place */
export function readInstruction(node: Node): Instruction {
  const kind = findKind(node.name);
  if (kind === undefined) {
    throw refuse(`unknown instruction: ${node.name}${hintCaseless(node.name, instructionKinds)}`);
  }
  const at: At = {
    location: node.location,
    original: node.original,
    ...(node.comments.length === 0 ? {} : { comments: node.comments }),
  };
  switch (kind) {
    case "from":
      return readFrom(node, at);
    case "run":
      return readRun(node, at);
    case "copy":
    case "add":
      return readCopy(node, at, kind);
    case "env":
    case "label":
      return readPairs(node, at, kind);
    case "arg":
      return readArg(node, at);
    case "cmd":
    case "entrypoint":
      parseFlags(node.flags, {});
      return { ...at, kind, command: readCommandLine(node) };
    case "shell":
      return readShell(node, at);
    case "expose":
      needArgs(node, "EXPOSE");
      parseFlags(node.flags, {});
      return { ...at, kind, ports: node.args.toSorted() };
    case "volume":
      return readVolume(node, at);
    case "user":
    case "workdir":
    case "stopsignal":
    case "maintainer":
      return readSingle(node, at, kind);
    case "healthcheck":
      return readHealthcheck(node, at);
    case "onbuild":
      return readOnbuild(node, at);
  }
}

function readFrom(node: Node, at: At): Of<"from"> {
  const [image = "", as = "", name = ""] = node.args;
  const hasName = node.args.length === 3 && as.toLowerCase() === "as";
  if (!hasName && node.args.length !== 1) {
    throw refuse("FROM requires either one or three arguments");
  }
  const stage = name.toLowerCase();
  if (hasName && !/^[a-z][a-z0-9_.-]*$/.test(stage)) {
    throw refuse(
      `invalid name for build stage: ${quote(name)}, name can't start with a number or contain symbols`,
    );
  }
  const platform = parseFlags(node.flags, { platform: "text" }).text("platform");
  return {
    ...at,
    kind: "from",
    image,
    ...(hasName ? { stage } : {}),
    ...(platform === undefined ? {} : { platform }),
  };
}

function readRun(node: Node, at: At): Of<"run"> {
  const flags = parseFlags(node.flags, runFlags);
  const mountTexts = flags.texts("mount");
  const network = flags.text("network") ?? "default";
  const security = flags.text("security") ?? "sandbox";
  const knownNetwork = networks.find((each) => each === network);
  if (knownNetwork === undefined) throw refuse(`invalid network mode ${quote(network)}`);
  const knownSecurity = securities.find((each) => each === security);
  if (knownSecurity === undefined) throw refuse(`security ${quote(security)} is not valid`);
  for (const device of flags.texts("device")) checkDevice(device);
  return {
    ...at,
    kind: "run",
    command: readCommandLine(node),
    mounts: mountTexts.map((text) => parseRunMount(text)),
    mountTexts,
    network: knownNetwork,
    security: knownSecurity,
    devices: flags.texts("device"),
  };
}

/** `vendor.com/class=name`, or fields `name=…` and `required`. */
function checkDevice(text: string): void {
  for (const [index, field] of splitFields(text).entries()) {
    const [key = "", value] = field.split("=", 2);
    if (key === "required") {
      if (value !== undefined && findGoBool(value) === undefined) {
        throw refuse(`invalid value for ${key}: ${value}`);
      }
    } else if (index > 0 && key !== "name") {
      throw refuse(`unexpected key '${key}' in '${field}'`);
    }
  }
}

function readCommandLine(node: Node): CommandLine {
  if (node.isJson) return { form: "exec", args: node.args };
  return { form: "shell", text: node.args.join(" "), heredocs: node.heredocs };
}

function readCopy(node: Node, at: At, kind: "copy" | "add"): Of<"copy" | "add"> {
  const name = kind.toUpperCase();
  if (node.args.length < 2) {
    throw refuse(
      `${name} requires at least two arguments, but only one was provided. Destination could not be determined`,
    );
  }
  const flags = parseFlags(node.flags, kind === "copy" ? copyFlags : addFlags);
  const target = node.args.at(-1) ?? "";
  if (findHeredocMark(target) !== undefined) {
    throw refuse(`${name} cannot accept a heredoc as a destination`);
  }
  const from = flags.text("from") ?? "";
  if (from.includes("$")) {
    throw refuse(
      "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
    );
  }
  const unpack = flags.bool("unpack");
  const [chown = "", chmod = "", checksum = ""] = ["chown", "chmod", "checksum"].map(flags.text);
  return {
    ...at,
    kind,
    sources: readSources(node),
    target,
    ...(from === "" ? {} : { from }),
    ...(chown === "" ? {} : { chown }),
    ...(chmod === "" ? {} : { chmod }),
    isLink: flags.bool("link") ?? false,
    hasParents: flags.bool("parents") ?? false,
    excludes: flags.texts("exclude"),
    ...(checksum === "" ? {} : { checksum }),
    keepsGitDir: flags.bool("keep-git-dir") ?? false,
    ...(unpack === undefined ? {} : { unpack }),
  };
}

function readSources(node: Node): CopySources {
  const sources = node.args.slice(0, -1);
  const known = new Map<string, Heredoc>(node.heredocs.map((each) => [each.name, each]));
  const paths: string[] = [];
  const heredocs: Heredoc[] = [];
  for (const source of sources) {
    const mark = findHeredocMark(source);
    // Docker: in a JSON list it is a mark too, of a file without content, seen in 28.5.
    if (mark === undefined) paths.push(source);
    else heredocs.push(known.get(mark.name) ?? { ...mark, content: "" });
  }
  return { paths, heredocs };
}

function readPairs(node: Node, at: At, kind: "env" | "label"): Of<"env" | "label"> {
  const name = kind.toUpperCase();
  parseFlags(node.flags, {});
  if (node.pairs.length === 0) throw refuse(`${name} requires at least one argument`);
  if (node.pairs.some(({ key }) => key === "")) throw refuse(`${name} names can not be blank`);
  return { ...at, kind, pairs: node.pairs };
}

function readArg(node: Node, at: At): Of<"arg"> {
  needArgs(node, "ARG");
  const args = node.args.map((word) => {
    const equals = word.indexOf("=");
    if (equals === 0) throw refuse("ARG names can not be blank");
    if (equals < 0) return { name: word };
    return { name: word.slice(0, equals), value: word.slice(equals + 1) };
  });
  return { ...at, kind: "arg", args };
}

function readShell(node: Node, at: At): Of<"shell"> {
  parseFlags(node.flags, {});
  needArgs(node, "SHELL");
  if (!node.isJson) throw refuse("SHELL requires the arguments to be in JSON form");
  return { ...at, kind: "shell", args: node.args };
}

function readVolume(node: Node, at: At): Of<"volume"> {
  needArgs(node, "VOLUME");
  parseFlags(node.flags, {});
  const paths = node.args.map(trimSpace);
  if (paths.includes("")) throw refuse("VOLUME specified can not be an empty string");
  return { ...at, kind: "volume", paths };
}

type SingleKind = "user" | "workdir" | "stopsignal" | "maintainer";

function readSingle(node: Node, at: At, kind: SingleKind): Of<SingleKind> {
  const [value] = node.args;
  if (value === undefined) {
    throw refuse(`${kind.toUpperCase()} requires exactly one argument`);
  }
  if (kind !== "stopsignal") parseFlags(node.flags, {});
  return { ...at, kind, value };
}

function readHealthcheck(node: Node, at: At): Of<"healthcheck"> {
  needArgs(node, "HEALTHCHECK");
  const type = (node.args[0] ?? "").toUpperCase();
  const args = node.args.slice(1);
  if (type === "NONE") {
    if (args.length > 0) throw refuse("HEALTHCHECK NONE takes no arguments");
    return { ...at, kind: "healthcheck", check: { kind: "none" } };
  }
  const flags = parseFlags(node.flags, healthFlags);
  if (type !== "CMD") throw refuse(`Unknown type ${quote(type)} in HEALTHCHECK (try CMD)`);
  if (args.length === 0) throw refuse("Missing command after HEALTHCHECK CMD");
  const command: CommandLine = node.isJson
    ? { form: "exec", args }
    : { form: "shell", text: args.join(" "), heredocs: [] };
  const intervalNs = readInterval("interval", flags.text("interval"));
  const timeoutNs = readInterval("timeout", flags.text("timeout"));
  const startPeriodNs = readInterval("start-period", flags.text("start-period"));
  const startIntervalNs = readInterval("start-interval", flags.text("start-interval"));
  const retries = readRetries(flags.text("retries") ?? "");
  const check = {
    kind: "cmd",
    command,
    ...(intervalNs === undefined ? {} : { intervalNs }),
    ...(timeoutNs === undefined ? {} : { timeoutNs }),
    ...(startPeriodNs === undefined ? {} : { startPeriodNs }),
    ...(startIntervalNs === undefined ? {} : { startIntervalNs }),
    ...(retries === undefined ? {} : { retries }),
  } as const;
  return { ...at, kind: "healthcheck", check };
}

function readInterval(name: string, text = ""): number | undefined {
  if (text === "") return undefined;
  const ns = parseDuration(text);
  if (ns === 0n) return undefined;
  if (ns >= healthIntervalMinNs) return Number(ns);
  throw refuse(`Interval ${quote(name)} cannot be less than 1ms`);
}

function readRetries(text: string): number | undefined {
  if (text === "") return undefined;
  const problem = (reason: string): Error =>
    refuse(`strconv.ParseInt: parsing ${quote(text)}: ${reason}`);
  if (!/^[+-]?\d+$/.test(text)) throw problem("invalid syntax");
  const retries = Number(text);
  if (Math.abs(retries) > int32Max) throw problem("value out of range");
  if (retries < 0) throw refuse(`--retries cannot be negative (${retries})`);
  return retries;
}

function readOnbuild(node: Node, at: At): Of<"onbuild"> {
  needArgs(node, "ONBUILD");
  parseFlags(node.flags, {});
  const name = (node.args[0] ?? "").toUpperCase();
  if (name === "ONBUILD") {
    throw refuse("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  }
  if (name === "MAINTAINER" || name === "FROM") {
    throw refuse(`${name} isn't allowed as an ONBUILD trigger`);
  }
  return { ...at, kind: "onbuild", trigger: node.trigger };
}

function needArgs(node: Node, name: string): void {
  if (node.args.length === 0) throw refuse(`${name} requires at least one argument`);
}
