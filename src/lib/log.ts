/** How grave a log line is; a logger drops what is below its level. */
export const logLevels = ["debug", "info", "warn", "error", "fatal"] as const;
/** One of `logLevels`. */
export type LogLevel = (typeof logLevels)[number];

/** Facts beside the sentence of a log line. Secrets never enter. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where a folder tells what it does; handed in, never imported as a global. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to each line. */
  with(fields: LogFields): Logger;
}

/** What `createLogger` needs. `level` is asked at each line, so that a reload can change it. */
export interface LoggerOptions {
  readonly level: () => LogLevel;
  readonly format: "text" | "json";
  readonly write: (line: string) => void;
  readonly fields?: LogFields;
}

/** Makes a logger that writes one line a call: logfmt, or one JSON object. */
export function createLogger(options: LoggerOptions): Logger {
  const own = options.fields ?? {};
  const emit = (level: LogLevel, message: string, fields: LogFields = {}): void => {
    if (logLevels.indexOf(level) < logLevels.indexOf(options.level())) return;
    const record = { time: new Date().toISOString(), level, msg: message, ...own, ...fields };
    options.write(options.format === "json" ? JSON.stringify(printable(record)) : logfmt(record));
  };
  return {
    debug: (message, fields) => emit("debug", message, fields),
    info: (message, fields) => emit("info", message, fields),
    warn: (message, fields) => emit("warn", message, fields),
    error: (message, fields) => emit("error", message, fields),
    with: (fields) => createLogger({ ...options, fields: { ...own, ...fields } }),
  };
}

/** A logger that says nothing; for tests and for callers that do not care. */
export const silentLogger: Logger = createLogger({
  level: () => "fatal",
  format: "text",
  write: () => undefined,
});

function printable(fields: LogFields): LogFields {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, plain(value)]));
}

function plain(value: unknown): unknown {
  if (!(value instanceof Error)) return value;
  return value.cause === undefined
    ? value.message
    : `${value.message}: ${String(plain(value.cause))}`;
}

function logfmt(fields: LogFields): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => {
      const bare = plain(value);
      const text = typeof bare === "string" ? bare : JSON.stringify(bare);
      return `${key}=${/^[\w.:/@+-]+$/.test(text) ? text : JSON.stringify(text)}`;
    })
    .join(" ");
}
