import { EngineError } from "../lib/errors.ts";

/** Reads a line that is typed at the terminal of standard input, without showing it. @throws canceled at Ctrl-C */
export async function readHiddenLine(): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let typed = "";
  const onData = (chunk: Buffer): void => {
    for (const key of chunk.toString("utf8")) {
      if (key === "\r" || key === "\n") resolve(typed);
      else if (key === "\x03") reject(new EngineError("canceled", "interrupted"));
      else if (key === "\x7f" || key === "\b") typed = typed.slice(0, -1);
      else typed += key;
    }
  };
  process.stdin.setRawMode(true);
  process.stdin.on("data", onData).resume();
  try {
    return await promise;
  } finally {
    process.stdin.off("data", onData).pause();
    process.stdin.setRawMode(false);
  }
}
