import { formatBytesBinary } from "../../lib/size.ts";
import type { Catalog } from "./_catalog.ts";
import { refusal } from "../errors.ts";

/** How much there may be. */
export interface QuotaLimits {
  /** Of all content, each digest counted once. */
  readonly sizeMaxBytes?: number;
  /** Of what one repository has. */
  readonly repositoryMaxBytes?: number;
}

/** What is about to come. */
export interface QuotaRequest {
  readonly sizeBytes: number;
  readonly isShared?: boolean;
}

/** Says no before there is too much: uploads count with the bytes that they have. */
export class Quota {
  readonly #catalog: Catalog;
  readonly #limits: QuotaLimits;
  readonly #pending = new Map<string, number>();
  #pendingBytes = 0;

  constructor(catalog: Catalog, limits: QuotaLimits) {
    this.#catalog = catalog;
    this.#limits = limits;
  }

  /** Notes that uploads of a repository have grown, or shrunk. */
  count(repository: string, deltaBytes: number): void {
    this.#pendingBytes += deltaBytes;
    const pending = (this.#pending.get(repository) ?? 0) + deltaBytes;
    if (pending <= 0) this.#pending.delete(repository);
    else this.#pending.set(repository, pending);
  }

  /**
   * @param extra.sizeBytes that the repository gets
   * @param extra.isShared the registry has them already
   * @throws DENIED when that would be too much
   */
  admit(repository: string, extra: QuotaRequest): void {
    const { sizeMaxBytes = 0, repositoryMaxBytes = 0 } = this.#limits;
    const lack = this.lackOf(repository, extra);
    if (lack === "registry") throw exceeded("the registry", sizeMaxBytes);
    if (lack === "repository") throw exceeded(`repository ${repository}`, repositoryMaxBytes);
  }

  /** Whether there would be room if nothing else were there. */
  isEverEnough({ sizeBytes }: QuotaRequest): boolean {
    const { sizeMaxBytes = sizeBytes, repositoryMaxBytes = sizeBytes } = this.#limits;
    return sizeBytes <= Math.min(sizeMaxBytes, repositoryMaxBytes);
  }

  /** Whose quota would be exceeded; undefined: nobody's. */
  lackOf(repository: string, extra: QuotaRequest): "registry" | "repository" | undefined {
    const { sizeMaxBytes, repositoryMaxBytes } = this.#limits;
    const { sizeBytes, isShared = false } = extra;
    if (sizeMaxBytes !== undefined) {
      const wanted = this.#catalog.sizeBytes + this.#pendingBytes + (isShared ? 0 : sizeBytes);
      if (wanted > sizeMaxBytes) return "registry";
    }
    if (repositoryMaxBytes !== undefined) {
      const has = this.#catalog.find(repository)?.sizeBytes ?? 0;
      const wanted = has + (this.#pending.get(repository) ?? 0) + sizeBytes;
      if (wanted > repositoryMaxBytes) return "repository";
    }
    return undefined;
  }
}

function exceeded(whose: string, maxBytes: number): Error {
  return refusal("DENIED", {
    message: `quota of ${whose} exceeded: ${formatBytesBinary(maxBytes)} is all there may be`,
    detail: { quotaBytes: maxBytes },
  });
}
