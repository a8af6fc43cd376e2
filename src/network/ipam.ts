/**
 * Addresses of networks: which blocks are theirs, which addresses of a block are taken.
 *
 * In memory only: the truth is what running containers hold, told again at start by `reserve`.
 */
import { EngineError } from "../lib/errors.ts";
import {
  contains,
  formatIpv4,
  overlaps,
  parseCidr,
  parseIpv4,
  type Subnet,
  sizeOf,
  subnetOf,
} from "./cidr.ts";

/** Docker's default-address-pools, of which a network without a subnet gets its own. */
export const defaultAddressPools: readonly { readonly base: string; readonly size: number }[] = [
  { base: "172.17.0.0/16", size: 16 },
  { base: "172.18.0.0/16", size: 16 },
  { base: "172.19.0.0/16", size: 16 },
  { base: "172.20.0.0/14", size: 16 },
  { base: "172.24.0.0/14", size: 16 },
  { base: "172.28.0.0/14", size: 16 },
  { base: "192.168.0.0/16", size: 20 },
];

/**
 * The first block of the default pools that overlaps none of `taken`.
 *
 * @throws unavailable with Docker's sentence when all overlap
 */
export function chooseSubnet(taken: readonly Subnet[]): Subnet {
  for (const pool of defaultAddressPools) {
    const { subnet: whole } = parseCidr(pool.base);
    const step = 2 ** (32 - pool.size);
    for (let base = whole.base; base < whole.base + sizeOf(whole); base += step) {
      const candidate = subnetOf(base, pool.size);
      if (!taken.some((other) => overlaps(other, candidate))) return candidate;
    }
  }
  throw new EngineError("unavailable", "all predefined address pools have been fully subnetted");
}

/** What an address pool is made of. */
export interface AddressPoolOptions {
  readonly subnet: Subnet;
  /** Never given out. */
  readonly gateway: number;
  /** Whose it is, for sentences: `bridge (1f2e…)`. */
  readonly owner: string;
}

/**
 * The addresses of one block.
 *
 * Given out in rising order, starting over at the end: an address just released is the last to be
 * given again, so that neighbours' caches have forgotten it.
 */
export class AddressPool {
  readonly #options: AddressPoolOptions;
  readonly #used = new Set<number>();
  readonly #first: number;
  readonly #last: number;
  #next: number;

  constructor(options: AddressPoolOptions) {
    const { subnet } = options;
    // A block of two addresses or one has neither network nor broadcast address (RFC 3021).
    const margin = subnet.prefixLength >= 31 ? 0 : 1;
    this.#options = options;
    this.#first = subnet.base + margin;
    this.#last = subnet.base + sizeOf(subnet) - 1 - margin;
    this.#next = this.#first;
  }

  /** Count of addresses given out. */
  get usedCount(): number {
    return this.#used.size;
  }

  /** @throws unavailable with Docker's sentence when none is left */
  allocate(): string {
    const isGatewayInside = this.#isUsable(this.#options.gateway) ? 1 : 0;
    const countMax = this.#last - this.#first + 1 - isGatewayInside;
    if (this.#used.size >= countMax) {
      throw new EngineError(
        "unavailable",
        `no available IPv4 addresses on this network's address pools: ${this.#options.owner}`,
      );
    }
    while (this.#next === this.#options.gateway || this.#used.has(this.#next)) this.#step();
    const address = this.#next;
    this.#used.add(address);
    this.#step();
    return formatIpv4(address);
  }

  /**
   * Takes the named address.
   *
   * @throws invalid-argument when it is not of this block; conflict when it is taken
   */
  reserve(text: string): void {
    const address = parseIpv4(text);
    if (!contains(this.#options.subnet, address) || !this.#isUsable(address)) {
      throw new EngineError(
        "invalid-argument",
        `invalid address ${text}: It does not belong to any of this network's subnets`,
      );
    }
    if (address === this.#options.gateway || this.#used.has(address)) {
      throw new EngineError("conflict", "Address already in use");
    }
    this.#used.add(address);
    // What was held when an earlier daemon ended counts as given out: go on behind it.
    if (address >= this.#next) {
      this.#next = address;
      this.#step();
    }
  }

  /** Gives an address back; harmless when it was not taken. */
  release(text: string): void {
    this.#used.delete(parseIpv4(text));
  }

  #isUsable(address: number): boolean {
    return address >= this.#first && address <= this.#last;
  }

  #step(): void {
    this.#next = this.#next >= this.#last ? this.#first : this.#next + 1;
  }
}
