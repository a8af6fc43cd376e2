import type { IncomingMessage, Server } from "node:http";

/**
 * Holds the sender of a body back when nobody takes it, for a server that is given its connections by
 * `emit("connection")`: on that path Bun reads bodies as fast as they come.
 */
export function holdBackBodies(server: Server): void {
  server.prependListener("request", (request: IncomingMessage) => {
    const { socket } = request;
    const push = request.push;
    const read = request._read;
    request.push = function pushAndPause(chunk: unknown, encoding?: BufferEncoding): boolean {
      const wantsMore = push.call(this, chunk, encoding);
      // Behind the end of this body the next request may wait; of a body that nobody wants, the rest.
      if (chunk === null || this.destroyed) socket.resume();
      else if (!wantsMore) socket.pause();
      return wantsMore;
    };
    request.once("close", () => {
      if (!request.complete) socket.resume();
    });
    request._read = function resumeAndRead(size: number): void {
      socket.resume();
      read.call(this, size);
    };
  });
}
