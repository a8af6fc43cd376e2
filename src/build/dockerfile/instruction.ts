/**
 * A Dockerfile as a list of instructions: what the parser makes and the solver reads.
 *
 * Terms: a *word* is text whose variables are not expanded yet; `expandInstruction` gives the same
 * instruction with every word expanded that Docker expands, and leaves the others as they stand.
 * Stages come from `FROM`; ARGs before the first one are *meta arguments*.
 *
 * @see Dockerfile reference; BuildKit, frontend/dockerfile/instructions
 */

/** Lines of the file, from 1, both included. */
export interface Location {
  readonly startLine: number;
  readonly endLine: number;
}

/** A here-document of an instruction. */
export interface Heredoc {
  readonly name: string;
  /** Whether variables are expanded in it: false for a quoted name. */
  readonly isExpanded: boolean;
  /** `<<-`: leading tabs are gone already. */
  readonly hasTabsStripped: boolean;
  readonly content: string;
  /** The content as it stands in the file, where that is another. */
  readonly written?: string;
}

/** How a command is written. `text` of a shell command is passed to the shell as it stands. */
export type CommandLine =
  | { readonly form: "exec"; readonly args: readonly string[] }
  | { readonly form: "shell"; readonly text: string; readonly heredocs: readonly Heredoc[] };

/** A key with a value, in the order of the file. */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
  /** `ENV a b c`: one key, the rest is the value. */
  readonly isLegacy: boolean;
}

/** A mount of RUN; values are words. @see Dockerfile reference, RUN --mount */
export interface RunMount {
  readonly type: "bind" | "cache" | "tmpfs" | "secret" | "ssh";
  readonly target?: string;
  readonly source?: string;
  readonly from?: string;
  readonly isReadOnly: boolean;
  readonly id?: string;
  readonly sharing?: "shared" | "private" | "locked";
  readonly isRequired?: boolean;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly sizeBytes?: number;
  /** `secret` only: the variable that holds it. */
  readonly env?: string;
}

/** Where COPY and ADD take from: paths, or files written in the Dockerfile itself. */
export interface CopySources {
  readonly paths: readonly string[];
  readonly heredocs: readonly Heredoc[];
}

interface At {
  readonly location: Location;
  /** The instruction as written, continuation lines joined; what history and progress show. */
  readonly original: string;
  /** Comment lines since the instruction before, without `#`; absent when there are none. */
  readonly comments?: readonly string[];
}

/** One instruction. Fields are words unless they say otherwise. */
export type Instruction = At &
  (
    | {
        readonly kind: "from";
        readonly image: string;
        readonly stage?: string;
        readonly platform?: string;
      }
    | {
        readonly kind: "run";
        readonly command: CommandLine;
        /** Settled by `expandInstruction`; before that, what is known without variables. */
        readonly mounts: readonly RunMount[];
        /** The mounts as written; `expandInstruction` reads them again with variables expanded. */
        readonly mountTexts?: readonly string[];
        readonly network: "default" | "none" | "host";
        readonly security: "sandbox" | "insecure";
        readonly devices: readonly string[];
      }
    | {
        readonly kind: "copy" | "add";
        readonly sources: CopySources;
        readonly target: string;
        readonly from?: string;
        readonly chown?: string;
        readonly chmod?: string;
        readonly isLink: boolean;
        readonly hasParents: boolean;
        readonly excludes: readonly string[];
        /** ADD only. */
        readonly checksum?: string;
        readonly keepsGitDir: boolean;
        readonly unpack?: boolean;
      }
    | { readonly kind: "env" | "label"; readonly pairs: readonly KeyValue[] }
    | {
        readonly kind: "arg";
        readonly args: readonly { readonly name: string; readonly value?: string }[];
      }
    | { readonly kind: "cmd" | "entrypoint"; readonly command: CommandLine }
    | { readonly kind: "shell"; readonly args: readonly string[] }
    | { readonly kind: "expose"; readonly ports: readonly string[] }
    | { readonly kind: "volume"; readonly paths: readonly string[] }
    | { readonly kind: "user" | "workdir" | "stopsignal" | "maintainer"; readonly value: string }
    | {
        readonly kind: "healthcheck";
        readonly check:
          | { readonly kind: "none" }
          | {
              readonly kind: "cmd";
              readonly command: CommandLine;
              readonly intervalNs?: number;
              readonly timeoutNs?: number;
              readonly startPeriodNs?: number;
              readonly startIntervalNs?: number;
              readonly retries?: number;
            };
      }
    | { readonly kind: "onbuild"; readonly trigger: string }
  );

/** The kind of an instruction: its name in lower case. */
export type InstructionKind = Instruction["kind"];

/** Instructions from one FROM to the next. */
export interface Stage {
  readonly index: number;
  /** In lower case; absent when FROM names none. */
  readonly name?: string;
  readonly from: Extract<Instruction, { kind: "from" }>;
  readonly instructions: readonly Exclude<Instruction, { kind: "from" }>[];
}

/** `# syntax=`, `# escape=`, `# check=`. */
export interface Directives {
  readonly syntax?: string;
  readonly escape: "\\" | "`";
  readonly check?: {
    /** Rules that are not told; `all` for every one. */
    readonly skip: readonly string[];
    readonly isError: boolean;
    /** Experimental rules that are told; `all` for every one. */
    readonly experimental?: readonly string[];
  };
}

/** A whole Dockerfile. */
export interface Dockerfile {
  readonly directives: Directives;
  readonly metaArgs: readonly Extract<Instruction, { kind: "arg" }>[];
  readonly stages: readonly Stage[];
  /** The text by lines, for pictures of a place. */
  readonly lines: readonly string[];
  /** Instructions with an empty line among their continuation lines. */
  readonly emptyContinuations?: readonly Location[];
}
