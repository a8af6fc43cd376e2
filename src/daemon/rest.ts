/** When the daemon is at rest: nobody has asked for anything, and nothing is under way. */

/** How long nobody may have asked for anything before the daemon counts as at rest. */
const restMs = 10_000;
/** How long after its start a daemon gives back what only the start needed. */
const settledMs = 1_500;
/** What follows a collection runs in the background, and reads the program's file for it. */
const aftermathMs = 3_000;
/** How long is looked whether something is under way that was asked for before. */
const probeMs = 500;
/** Whoever uses more of a processor is at work: a pull, a build, a client that is sent much. */
const workShare = 0.05;

/** What `watchRest` needs. */
export interface RestOptions {
  /** Called once after the start, and whenever the daemon has come to rest after work. */
  readonly release: () => void;
  /** Called some time after, if it rests still. */
  readonly releaseLate: () => void;
  /** Processor time that the process has used, all of its threads; that of the process when absent. */
  readonly usedMs?: () => number;
  /** Divides all times; for tests. */
  readonly hurry?: number;
}

/** Looks whether the daemon is at rest. */
export interface RestWatch {
  /** Somebody asks for something, or has got it. */
  disturb(): void;
  close(): void;
}

/** Begins to look; at rest nothing wakes the process. */
export function watchRest(options: RestOptions): RestWatch {
  const { release, releaseLate, usedMs = usedByProcess, hurry = 1 } = options;
  const [rest, settled, aftermath, probeFor] = [restMs, settledMs, aftermathMs, probeMs].map(
    (timeMs) => timeMs / hurry,
  ) as [number, number, number, number];
  let timer: ReturnType<typeof setTimeout> | undefined;
  let late: ReturnType<typeof setTimeout> | undefined;
  let lastMs = performance.now();
  const releaseNow = (): void => {
    release();
    clearTimeout(late);
    late = setTimeout(() => {
      // With work in between there will be another rest.
      if (performance.now() - lastMs >= aftermath) releaseLate();
    }, aftermath);
  };
  const probe = (ifIdle: () => void, ifBusy: () => void): ReturnType<typeof setTimeout> => {
    const [beganMs, usedBeforeMs] = [performance.now(), usedMs()];
    return setTimeout(() => {
      const share = (usedMs() - usedBeforeMs) / (performance.now() - beganMs);
      if (share > workShare) ifBusy();
      else ifIdle();
    }, probeFor);
  };
  const lookLater = (delayMs: number): void => {
    timer = setTimeout(look, delayMs);
  };
  const look = (): void => {
    const leftMs = lastMs + rest - performance.now();
    if (leftMs > 0) {
      lookLater(leftMs);
      return;
    }
    const beganMs = performance.now();
    const isIdle = (): void => {
      timer = undefined;
      if (lastMs > beganMs) lookLater(rest);
      else releaseNow();
    };
    timer = probe(isIdle, () => lookLater(rest));
  };
  let first = setTimeout(() => {
    // At work already, it comes to rest later.
    first = probe(releaseNow, () => undefined);
  }, settled);
  return {
    disturb: () => {
      lastMs = performance.now();
      if (timer === undefined) lookLater(rest);
    },
    close: () => {
      for (const each of [first, timer, late]) clearTimeout(each);
    },
  };
}

function usedByProcess(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
