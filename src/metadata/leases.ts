import { createId } from "../lib/id.ts";
import { EngineError } from "../lib/errors.ts";

/** What keeps unreferenced things from the collector for a while. */
export interface Lease {
  readonly id: string;
  /** Milliseconds since 1970; the lease holds nothing from then on. */
  readonly expiresMs?: number;
  /** `content:<digest>` or `snapshot:<key>`. */
  readonly resources: readonly string[];
}

/** A resource that a lease holds. */
export type LeaseResource = `content:${string}` | `snapshot:${string}`;

/** The leases of one daemon. */
export interface Leases {
  /** @throws already-exists */
  create(options?: { readonly id?: string; readonly ttlMs?: number }): string;
  /** @throws not-found (the lease) */
  add(id: string, resource: LeaseResource): void;
  /** Tells whether there was one. */
  remove(id: string): boolean;
  isHeld(resource: LeaseResource): boolean;
  list(): readonly Lease[];
}

/**
 * Makes the leases of one daemon: work in progress, so they live in memory alone.
 *
 * What a lease held when a daemon died belongs to nobody, and the collector of the next start takes it.
 */
export function createLeases(options: { readonly nowMs?: () => number } = {}): Leases {
  return new MemoryLeases(options.nowMs ?? Date.now);
}

interface HeldLease {
  readonly id: string;
  readonly expiresMs?: number;
  readonly resources: Set<LeaseResource>;
}

class MemoryLeases implements Leases {
  readonly #nowMs: () => number;
  readonly #leases = new Map<string, HeldLease>();
  readonly #holders = new Map<LeaseResource, Set<string>>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  create(options: { readonly id?: string; readonly ttlMs?: number } = {}): string {
    const id = options.id ?? createId();
    this.#expire();
    if (this.#leases.has(id)) {
      throw new EngineError("already-exists", `create lease ${JSON.stringify(id)}: it exists`);
    }
    const end = options.ttlMs === undefined ? {} : { expiresMs: this.#nowMs() + options.ttlMs };
    this.#leases.set(id, { id, ...end, resources: new Set() });
    return id;
  }

  add(id: string, resource: LeaseResource): void {
    this.#expire();
    const lease = this.#leases.get(id);
    if (lease === undefined) {
      throw new EngineError("not-found", `add to lease ${JSON.stringify(id)}: no such lease`);
    }
    lease.resources.add(resource);
    const holders = this.#holders.get(resource) ?? new Set();
    this.#holders.set(resource, holders.add(id));
  }

  remove(id: string): boolean {
    const lease = this.#leases.get(id);
    if (lease === undefined) return false;
    for (const resource of lease.resources) {
      const holders = this.#holders.get(resource);
      holders?.delete(id);
      if (holders?.size === 0) this.#holders.delete(resource);
    }
    this.#leases.delete(id);
    return true;
  }

  isHeld(resource: LeaseResource): boolean {
    this.#expire();
    return this.#holders.has(resource);
  }

  list(): readonly Lease[] {
    this.#expire();
    return [...this.#leases.values()].map((lease) => ({
      ...lease,
      resources: [...lease.resources],
    }));
  }

  #expire(): void {
    const nowMs = this.#nowMs();
    for (const { id, expiresMs } of this.#leases.values()) {
      if (expiresMs !== undefined && expiresMs <= nowMs) this.remove(id);
    }
  }
}
