/** Filters of build records: `status==completed`, `duration>10s`. @see BuildKit, solver/llbsolver */
import { nsOfTimestamp, type Timestamp } from "../../api/buildkit/control.ts";
import type { HistoryRecord } from "../../api/buildkit/history.ts";
import { EngineError } from "../../lib/errors.ts";
import { grpcCode } from "../../lib/grpc/status.ts";
import { parseDuration } from "../../lib/time.ts";
import { splitCsv } from "./_csv.ts";

type Test = (record: HistoryRecord) => boolean;

/**
 * Reads filters: a record must hold all parts of one of them.
 *
 * @throws invalid-argument for a key, an operator or a value that is not understood
 */
export function readHistoryFilters(filters: readonly string[], nowNs: bigint): Test {
  if (filters.length === 0) return () => true;
  const anyOf = filters.map((line) => splitCsv(line).map((part) => readPart(part, nowNs)));
  return (record) => anyOf.some((all) => all.every((test) => test(record)));
}

function readPart(text: string, nowNs: bigint): Test {
  const [, key = "", operator = "", value = ""] =
    /^(\w+)(==|!=|~=|<=|>=|=|<|>)(.*)$/s.exec(text) ?? [];
  switch (key) {
    case "ref":
      return textTest(text, { operator, value, of: ({ ref }) => ref });
    case "repository":
      return textTest(text, {
        operator,
        value,
        of: ({ frontendAttrs: attrs }) => attrs.get("vcs:source") ?? attrs.get("context") ?? "",
      });
    case "status":
      return textTest(text, { operator, value, of: statusOf });
    case "startedAt":
      return timeTest(text, { operator, wantedNs: momentOf(value, nowNs), of: startOf });
    case "completedAt":
      return timeTest(text, { operator, wantedNs: momentOf(value, nowNs), of: endOf });
    case "duration":
      return timeTest(text, {
        operator,
        wantedNs: durationOf(value),
        of: (record) => {
          const end = endOf(record);
          return end === undefined ? undefined : end - (startOf(record) ?? end);
        },
      });
    default:
      throw invalid(text);
  }
}

function textTest(
  text: string,
  test: {
    readonly operator: string;
    readonly value: string;
    readonly of: (record: HistoryRecord) => string;
  },
): Test {
  const { operator, value, of } = test;
  switch (operator) {
    case "=":
    case "==":
      return (record) => of(record) === value;
    case "!=":
      return (record) => of(record) !== value;
    case "~=":
      return (record) => of(record).includes(value);
    default:
      throw invalid(text);
  }
}

function timeTest(
  text: string,
  test: {
    readonly operator: string;
    readonly wantedNs: bigint | undefined;
    readonly of: (record: HistoryRecord) => bigint | undefined;
  },
): Test {
  const { operator, wantedNs, of } = test;
  if (wantedNs === undefined) throw invalid(text);
  const compare: ((ns: bigint) => boolean) | undefined = {
    "<": (ns: bigint) => ns < wantedNs,
    "<=": (ns: bigint) => ns <= wantedNs,
    ">": (ns: bigint) => ns > wantedNs,
    ">=": (ns: bigint) => ns >= wantedNs,
  }[operator];
  if (compare === undefined) throw invalid(text);
  return (record) => {
    const ns = of(record);
    return ns !== undefined && compare(ns);
  };
}

/** As clients name it. */
function statusOf({ completedAt, error }: HistoryRecord): string {
  if (completedAt === undefined) return "running";
  if (error === undefined) return "completed";
  return error.code === grpcCode.canceled ? "canceled" : "error";
}

/** A moment, or so long ago. */
function momentOf(text: string, nowNs: bigint): bigint | undefined {
  const agoNs = durationOf(text);
  if (agoNs !== undefined) return nowNs - agoNs;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * 1_000_000n;
}

function durationOf(text: string): bigint | undefined {
  try {
    return parseDuration(text);
  } catch (error) {
    if (error instanceof EngineError) return undefined;
    throw error;
  }
}

const startOf = ({ createdAt }: HistoryRecord): bigint | undefined => nsOf(createdAt);
const endOf = ({ completedAt }: HistoryRecord): bigint | undefined => nsOf(completedAt);

function nsOf(time: Timestamp | undefined): bigint | undefined {
  return time === undefined ? undefined : nsOfTimestamp(time);
}

function invalid(text: string): EngineError {
  return new EngineError("invalid-argument", `invalid filter ${JSON.stringify(text)}`);
}
