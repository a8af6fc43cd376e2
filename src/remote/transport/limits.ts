/** How long is waited for a registry. All in milliseconds. */
export interface RemoteLimits {
  /** Until a connection through a proxy stands. */
  readonly connectMs: number;
  /** Until an answer begins, after a request that has no body. */
  readonly answerMs: number;
  /** Until an answer begins, after a body was sent: the registry may put a blob together first. */
  readonly commitMs: number;
  /** Without a byte in either direction while bytes are wanted: the transfer is stalled. */
  readonly stallMs: number;
  /** Before the second attempt; doubled for each further one. */
  readonly retryDelayMs: number;
  readonly retryDelayMaxMs: number;
  /** The longest wait that a Retry-After may ask for. */
  readonly retryAfterMaxMs: number;
  /** The longest wait for a question that is answered in a moment, such as a manifest. */
  readonly patienceMaxMs: number;
}

/** What holds unless a test wants to wait less. */
export const defaultLimits: RemoteLimits = {
  connectMs: 30_000,
  answerMs: 30_000,
  commitMs: 5 * 60_000,
  stallMs: 30_000,
  retryDelayMs: 1_000,
  retryDelayMaxMs: 30_000,
  retryAfterMaxMs: 5 * 60_000,
  patienceMaxMs: 20_000,
};

/** Redirects that are followed, as Go's client does. */
export const redirectsMax = 10;

/** Bytes read of an answer that tells a failure. */
export const faultMaxBytes: number = 64 * 1024;

/** How long it is remembered what a registry wants for authentication. */
export const challengeKeepMs: number = 10 * 60_000;

/** Pages read of a list that goes on and on. */
export const pagesMax = 1_000;
