/**
 * An engine that does nothing and says at once that it was done: what the docker CLI takes with it, it
 * takes with every engine.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";

const id = "a".repeat(64);
const headEnd = "\r\n\r\n";
const headers =
  "Api-Version: 1.51\r\nDocker-Experimental: false\r\nOstype: linux\r\nServer: Stub\r\n";
const upgraded =
  "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n" +
  `Connection: Upgrade\r\nUpgrade: tcp${headEnd}`;

/** The engine, at `host` until it is closed. */
export interface StubEngine extends Disposable {
  /** As `unix:///tmp/…`. */
  readonly host: string;
}

/** Starts one that knows `run`, `exec` and `ps`. */
export async function startStubEngine(): Promise<StubEngine> {
  const folder = mkdtempSync("/tmp/tugbench-stub-");
  const path = join(folder, "engine.sock");
  const open: Open = { attached: undefined, waiting: undefined };
  const server = createServer((socket) => serve(socket, open));
  server.listen(path);
  await once(server, "listening");
  return {
    host: `unix://${path}`,
    [Symbol.dispose]() {
      server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What the start of the one container ends. */
interface Open {
  attached: Socket | undefined;
  waiting: Socket | undefined;
}

function serve(socket: Socket, open: Open): void {
  let text = "";
  socket.on("error", () => socket.destroy());
  socket.on("data", (bytes: Buffer) => {
    text += bytes.toString("latin1");
    for (let size = requestSize(text); size !== undefined; size = requestSize(text)) {
      const line = text.slice(0, text.indexOf("\r\n"));
      text = text.slice(size);
      answer(socket, line, open);
    }
  });
}

/** Where the first request ends; undefined as long as it is not there. */
function requestSize(text: string): number | undefined {
  const end = text.indexOf(headEnd);
  if (end < 0) return undefined;
  const head = text.slice(0, end);
  const bodyAt = end + headEnd.length;
  if (/^transfer-encoding: chunked/im.test(head)) {
    const last = text.indexOf(`0${headEnd}`, bodyAt);
    return last < 0 ? undefined : last + 1 + headEnd.length;
  }
  const size = bodyAt + Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
  return text.length < size ? undefined : size;
}

function answer(socket: Socket, line: string, open: Open): void {
  const [, path = ""] = line.split(" ");
  if (path.includes("/attach")) {
    open.attached = socket;
    socket.write(upgraded);
  } else if (path.includes("/wait")) {
    open.waiting = socket;
    const head = "Content-Type: application/json\r\nTransfer-Encoding: chunked";
    socket.write(`HTTP/1.1 200 OK\r\n${headers}${head}${headEnd}`);
  } else if (path.includes("/exec/") && path.endsWith("/start")) {
    socket.end(upgraded);
  } else if (path.endsWith("/start")) {
    socket.write(`HTTP/1.1 204 No Content\r\n${headers}\r\n`);
    open.attached?.end();
    const status = '{"StatusCode":0}\n';
    open.waiting?.write(`${status.length.toString(16)}\r\n${status}\r\n0${headEnd}`);
  } else if (path.endsWith("/_ping")) {
    socket.write(`HTTP/1.1 200 OK\r\n${headers}Content-Length: 0${headEnd}`);
  } else {
    const isMade = /\/(create|exec)$/.test(path);
    const body = JSON.stringify(path.endsWith("/containers/json") ? [] : { Id: id, ExitCode: 0 });
    const head = `Content-Type: application/json\r\nContent-Length: ${body.length}`;
    const status = isMade ? "201 Created" : "200 OK";
    socket.write(`HTTP/1.1 ${status}\r\n${headers}${head}${headEnd}${body}`);
  }
}
