import type { ContainerStatus } from "../../api/container.ts";

/**
 * Renders a span as Docker's `units.HumanDuration`: "Less than a second", "About a minute", "3 weeks".
 */
export function formatHumanDuration(seconds: number): string {
  if (seconds < 1) return "Less than a second";
  if (seconds < 2) return "1 second";
  if (seconds < 60) return `${Math.trunc(seconds)} seconds`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  // Docker: hours are rounded, all else is cut off.
  const hours = Math.trunc(seconds / 3600 + 0.5);
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(seconds / 3600 / 24 / 365)} years`;
}

/** What a status text is made from; times in nanoseconds since 1970. */
export interface StatusFacts {
  readonly status: ContainerStatus;
  readonly exitCode: number;
  readonly startedAtNs?: string;
  readonly finishedAtNs?: string;
  readonly nowNs: bigint;
}

/** The `Status` of a listed container, in Docker's words. */
export function formatStatus(facts: StatusFacts): string {
  const since = (ns: string | undefined): string =>
    formatHumanDuration(ns === undefined ? 0 : Number(facts.nowNs - BigInt(ns)) / 1e9);
  switch (facts.status) {
    case "running":
      return `Up ${since(facts.startedAtNs)}`;
    case "paused":
      return `Up ${since(facts.startedAtNs)} (Paused)`;
    case "restarting":
      return `Restarting (${facts.exitCode}) ${since(facts.finishedAtNs)} ago`;
    case "removing":
      return "Removal In Progress";
    case "dead":
      return "Dead";
    case "created":
      return "Created";
    case "exited":
      if (facts.finishedAtNs === undefined) return "";
      return `Exited (${facts.exitCode}) ${since(facts.finishedAtNs)} ago`;
  }
}
