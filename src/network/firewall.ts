/**
 * The packet filter of the engine: one nftables table of its own, and nothing besides.
 *
 * The wanted state is in memory; the kernel's is made to follow. A change is a few elements; when it
 * does not apply, because somebody flushed the rules or the two states differ otherwise, the whole
 * table is put up again in one transaction. While bridges are in use the table is looked after.
 */
import { EngineError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { NftSession } from "./_nft-session.ts";
import {
  chainNames,
  type FilteredBridge,
  type FilteredPort,
  formatPort,
  formatTable,
  keyOf,
} from "./_ruleset.ts";

export type { FilteredBridge, FilteredPort } from "./_ruleset.ts";

/** How often the table is looked for. */
const watchPeriodMs = 2_000;

/** What a firewall needs. */
export interface FirewallOptions {
  readonly table: string;
  readonly logger: Logger;
  /** Program to run in place of `nft`. */
  readonly program?: string;
}

/** The engine's own table. */
export class Firewall implements AsyncDisposable {
  readonly #options: FirewallOptions;
  readonly #session: NftSession;
  readonly #bridges = new Map<string, FilteredBridge>();
  /** Ports by the key of their element, with the endpoint each belongs to. */
  readonly #ports = new Map<string, { readonly port: FilteredPort; readonly owner: string }>();
  #isForwardingOurs = false;
  #isInstalled = false;
  /** A change was given up in the middle: what the kernel has is not known. */
  #isInDoubt = false;
  #isClosed = false;
  #tail: Promise<unknown> = Promise.resolve();
  #watcher: ReturnType<typeof setInterval> | undefined;

  constructor(options: FirewallOptions) {
    this.#options = options;
    this.#session = new NftSession(options.program);
  }

  /**
   * Puts up the table when it is not, with these bridges.
   *
   * @throws unavailable when nft is missing or refuses
   */
  async install(
    bridges: readonly FilteredBridge[],
    options: { readonly isForwardingOurs: boolean },
  ): Promise<void> {
    this.#bridges.clear();
    for (const bridge of bridges) this.#bridges.set(bridge.name, bridge);
    this.#isForwardingOurs = options.isForwardingOurs;
    await this.#inTurn(() => this.#replace());
  }

  /** Whether the table was put up by this daemon. */
  get isInstalled(): boolean {
    return this.#isInstalled;
  }

  /**
   * Leads ports to a container; a port that another owner had is taken over.
   *
   * @throws unavailable when the filter could not be changed; the wish is then forgotten
   */
  async add(owner: string, ports: readonly FilteredPort[]): Promise<void> {
    if (ports.length === 0) return;
    await this.#inTurn(async () => {
      const commands: string[] = [];
      for (const port of ports) {
        const before = this.#ports.get(keyOf(port));
        if (before !== undefined) commands.push(this.#command("delete", before.port));
        this.#ports.set(keyOf(port), { port, owner });
        commands.push(this.#command("add", port));
      }
      try {
        await this.#apply(commands);
      } catch (error) {
        this.#forget(owner);
        throw error;
      }
    });
  }

  /** Holds ports that were led there before; `install` puts them up. */
  hold(owner: string, ports: readonly FilteredPort[]): void {
    for (const port of ports) this.#ports.set(keyOf(port), { port, owner });
  }

  /** Ends what `add` did for the owner; harmless when it had none. */
  async remove(owner: string): Promise<void> {
    await this.#inTurn(async () => {
      const commands = this.#forget(owner).map((port) => this.#command("delete", port));
      if (commands.length > 0 && this.#isInstalled) await this.#apply(commands);
    });
  }

  /**
   * Puts the table up again when somebody took it away, or a change was given up half-way.
   *
   * @returns whether that was so
   */
  async heal(): Promise<boolean> {
    return await this.#inTurn(async () => {
      if (!this.#isInstalled || this.#isClosed) return false;
      if (!this.#isInDoubt && (await this.#isWhole())) return false;
      this.#options.logger.warn("packet filter table is gone or in doubt, putting it up again", {
        table: this.#options.table,
      });
      await this.#replace();
      return true;
    });
  }

  /** Stops looking after the table and leaves it in place: containers go on using it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#watcher);
    await this.#tail;
    await this.#session.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #isWhole(): Promise<boolean> {
    for (const chain of chainNames) {
      // One a line: nft 1.0.6 finds only the first of several chains listed in one line.
      const complaint = await this.#session.run(`list chain inet ${this.#options.table} ${chain}`);
      if (complaint !== "") return false;
    }
    return true;
  }

  #command(verb: "add" | "delete", port: FilteredPort): string {
    return formatPort(verb, { table: this.#options.table, port });
  }

  #forget(owner: string): readonly FilteredPort[] {
    const mine = [...this.#ports].filter(([, entry]) => entry.owner === owner);
    for (const [key] of mine) this.#ports.delete(key);
    return mine.map(([, entry]) => entry.port);
  }

  async #apply(commands: readonly string[]): Promise<void> {
    const complaint = await this.#runQuietly(commands.join("; "));
    if (complaint === "") return;
    this.#options.logger.warn("packet filter differs from what it should be, replacing the table", {
      table: this.#options.table,
      complaint: complaint.slice(0, 500),
    });
    this.#isInDoubt = true;
    await this.#replace();
  }

  /** A child that died mid-way leaves the state unknown: as good as a complaint. */
  async #runQuietly(commands: string): Promise<string> {
    try {
      return await this.#session.run(commands);
    } catch (error) {
      return String(error);
    }
  }

  async #replace(): Promise<void> {
    const complaint = await this.#session.run(
      formatTable({
        table: this.#options.table,
        bridges: [...this.#bridges.values()],
        ports: [...this.#ports.values()].map(({ port }) => port),
        isForwardingOurs: this.#isForwardingOurs,
      }),
    );
    if (complaint !== "") {
      this.#options.logger.error("packet filter refused the table", {
        table: this.#options.table,
        complaint: complaint.slice(0, 2_000),
      });
      throw new EngineError("unavailable", "set up the packet filter: nft refused the rules", {
        details: { complaint },
      });
    }
    this.#isInDoubt = false;
    this.#isInstalled = true;
    this.#watch();
  }

  #watch(): void {
    if (this.#watcher !== undefined || this.#isClosed) return;
    this.#watcher = setInterval(() => {
      this.heal().catch((error: unknown) => {
        this.#options.logger.error("packet filter could not be looked after", { error });
      });
    }, watchPeriodMs);
    this.#watcher.unref();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(work);
    this.#tail = turn.catch(() => undefined);
    return turn;
  }
}
