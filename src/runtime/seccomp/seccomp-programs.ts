/**
 * Compiled seccomp filters, by filter.
 *
 * A filter that is not there yet is compiled in a helper process; the container that wanted it goes
 * the slow way, by the JSON of its spec, and the next one has it.
 */
import { createHash } from "node:crypto";
import { EngineError } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import type { RuntimeSeccomp, RuntimeSpec } from "../../oci/runtime-spec.ts";
import { run } from "../../sys/process/process.ts";

/** Programs that are kept; one is some 10 kB. Containers with own filters make others. */
const programCountMax = 64;
const helperTimeoutMs = 10_000;

/** crun takes the program as this annotation, in base64, in place of the spec's own section. */
const programAnnotation = "run.oci.seccomp_bpf_data";

/** The programs of one daemon. */
export interface SeccompPrograms {
  /** The spec with its filter's program, where that is compiled already. */
  addTo(spec: RuntimeSpec): RuntimeSpec;
  /** Resolves when nothing is being compiled. */
  idle(): Promise<void>;
}

/**
 * Keeps programs in memory.
 *
 * @param options.command argv of the helper: this program's `seccomp`
 */
export function openSeccompPrograms(options: {
  readonly command: readonly string[];
  readonly logger: Logger;
}): SeccompPrograms {
  return new CompiledPrograms(options.command, options.logger);
}

class CompiledPrograms implements SeccompPrograms {
  readonly #command: readonly string[];
  readonly #logger: Logger;
  /** Base64; the oldest first. An empty text: could not be compiled, and is not tried again. */
  readonly #programs = new Map<string, string>();
  readonly #compiling = new Map<string, Promise<void>>();

  constructor(command: readonly string[], logger: Logger) {
    this.#command = command;
    this.#logger = logger;
  }

  addTo(spec: RuntimeSpec): RuntimeSpec {
    const filter = spec.linux?.seccomp;
    if (filter === undefined) return spec;
    const key = createHash("sha256").update(JSON.stringify(filter)).digest("base64");
    const program = this.#programs.get(key);
    if (program === undefined) {
      if (!this.#compiling.has(key)) this.#compiling.set(key, this.#compile(key, filter));
      return spec;
    }
    if (program === "") return spec;
    return { ...spec, annotations: { ...spec.annotations, [programAnnotation]: program } };
  }

  async idle(): Promise<void> {
    await Promise.all(this.#compiling.values());
  }

  async #compile(key: string, filter: RuntimeSeccomp): Promise<void> {
    try {
      const ended = await run({
        argv: this.#command,
        input: JSON.stringify(filter),
        timeoutMs: helperTimeoutMs,
      });
      if (ended.exitCode !== 0 || ended.stdout === "") {
        throw new EngineError("internal", ended.stderr.trim());
      }
      this.#keep(key, ended.stdout.trim());
    } catch (error) {
      this.#logger.warn("seccomp filters are left to the runtime to compile", { error });
      this.#keep(key, "");
    } finally {
      this.#compiling.delete(key);
    }
  }

  #keep(key: string, program: string): void {
    const [oldest] = this.#programs.keys();
    if (this.#programs.size >= programCountMax && oldest !== undefined) {
      this.#programs.delete(oldest);
    }
    this.#programs.set(key, program);
  }
}
