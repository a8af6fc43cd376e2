/**
 * The client side of image distribution: what is said to a registry, and nothing of images.
 *
 * Terms: a *registry* is a host that serves the distribution API; a *repository* is a path in it; an
 * *endpoint* is one URL under which a registry is asked (a mirror, the registry itself, each with or
 * without TLS).
 *
 * 1. `resolve` turns a reference into a descriptor; the endpoints are asked in order: mirrors, then
 *    the registry.
 * 2. `fetchManifest` gives the bytes of a manifest or an index, checked against size and digest.
 * 3. `fetchBlob` writes a blob into the content store. A break is resumed by range, also after a
 *    restart: the ingest's ref is the digest. Two fetches of one blob share one transfer.
 * 4. `pushBlob` and `pushManifest` go the other way: what is there is not sent, what another
 *    repository of the registry has is mounted.
 *
 * Credentials go to the host they are for and to the token server that it names, and never along a
 * redirect to another, nor to a mirror. Every answer is bounded and checked: a registry is hostile.
 *
 * @see OCI distribution-spec v1.1; Docker Registry HTTP API V2, token authentication
 */
import type { BlobInfo, ContentStore } from "../content/content-store.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import type { Reference } from "../oci/reference.ts";

/** What a caller is to a registry: X-Registry-Auth decoded. */
export interface Credentials {
  readonly username?: string;
  readonly password?: string;
  /** An OAuth2 refresh token, as `docker login` may get one. */
  readonly identityToken?: string;
  /** A bearer token to be sent as it is. */
  readonly registryToken?: string;
}

/** What each call may have. */
export interface RegistryCall {
  /** For the registry of the call's reference; none: anonymous. */
  readonly credentials?: Credentials;
  readonly signal?: AbortSignal;
}

/** Told as bytes pass, and when a transfer begins again. Called often; cheap. */
export type TransferProgress = (state: {
  readonly kind: "waiting" | "transferring" | "retrying" | "exists" | "mounted" | "done";
  readonly currentBytes: number;
  readonly totalBytes: number;
  /** `retrying`: seconds until the next attempt. */
  readonly retryInS?: number;
  /** `mounted`: the repository it came from. */
  readonly from?: string;
}) => void;

/** A manifest or an index as the registry has it. */
export interface FetchedManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** One hit of a search. @see Docker Hub's /v1/search */
export interface SearchHit {
  readonly name: string;
  readonly description: string;
  readonly starCount: number;
  readonly isOfficial: boolean;
  readonly isAutomated: boolean;
}

/** How registries are reached; the daemon's configuration, replaced as a whole at a reload. */
export interface RegistryConfig {
  /** As `registry-mirrors`: URLs for docker.io, `host=URL` for another registry. */
  readonly mirrors: readonly string[];
  /** Hosts and CIDR blocks that may be spoken to without TLS or with a certificate nobody signed.
   * 127.0.0.0/8 and ::1 are without being listed, unless `certsDirs` has certificates for them. */
  readonly insecureRegistries: readonly string[];
  /** Folders of `<host>/{*.crt,*.cert,*.key}` as Docker's certs.d; the first that has the host wins. */
  readonly certsDirs: readonly string[];
  /** Blobs that are fetched at once; 0: any number. So `uploadsMax`. */
  readonly downloadsMax: number;
  readonly uploadsMax: number;
  /** Attempts in a row that bring a blob no further, before it is given up. */
  readonly attemptsMax: number;
  readonly httpProxy?: string;
  readonly httpsProxy?: string;
  readonly noProxy?: string;
}

/** What talks to registries. Closed with what is under way. */
export interface RegistryClient extends AsyncDisposable {
  configure(config: RegistryConfig): void;
  /** @throws not-found (`manifest for x:tag not found: manifest unknown: …`), unauthorized,
   * permission-denied, unavailable */
  resolve(reference: Reference, call: RegistryCall): Promise<Descriptor>;
  /** By digest when the reference has one, else by tag. @throws data-loss when the bytes lie */
  fetchManifest(reference: Reference, call: RegistryCall): Promise<FetchedManifest>;
  /** Asks how large a blob is that no manifest at hand names; undefined when it is not there. */
  findBlobSize(
    reference: Reference,
    options: RegistryCall & { readonly digest: Digest },
  ): Promise<number | undefined>;
  /** URLs that the descriptor itself names are never followed. */
  fetchBlob(
    reference: Reference,
    options: RegistryCall & {
      readonly descriptor: Descriptor;
      readonly content: ContentStore;
      readonly progress?: TransferProgress;
    },
  ): Promise<BlobInfo>;
  /** Sends a blob unless the repository has it. */
  pushBlob(
    reference: Reference,
    options: RegistryCall & {
      readonly descriptor: Descriptor;
      /** Opened anew for each attempt. */
      readonly open: (offset: number) => ReadableStream<Uint8Array>;
      /** Repositories of the same registry that may have it. */
      readonly mountFrom?: readonly string[];
      readonly progress?: TransferProgress;
    },
  ): Promise<void>;
  /** Under the reference's tag, or its digest when it has no tag. @returns the digest that the
   * registry stored it under */
  pushManifest(
    reference: Reference,
    options: RegistryCall & { readonly mediaType: string; readonly bytes: Uint8Array },
  ): Promise<Digest>;
  listTags(reference: Reference, call: RegistryCall): Promise<readonly string[]>;
  /** Descriptors that name `digest` as their subject; by the referrers API or its tag schema. */
  listReferrers(
    reference: Reference,
    options: RegistryCall & { readonly digest: Digest; readonly artifactType?: string },
  ): Promise<readonly Descriptor[]>;
  search(
    term: string,
    options: RegistryCall & { readonly countMax: number },
  ): Promise<readonly SearchHit[]>;
  /** Checks credentials against a registry's host. @returns an identity token where it gave one */
  login(host: string, call: RegistryCall): Promise<{ readonly identityToken?: string }>;
}
