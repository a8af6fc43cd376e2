import { expect, test } from "bun:test";
import { Duplex } from "node:stream";
import { joinStreams } from "./_join.ts";

/** One side: what it is sent, and whether its writing half was closed. */
function openSide(): { readonly stream: Duplex; readonly sent: string[]; ended: boolean } {
  const side = {
    sent: [] as string[],
    ended: false,
    stream: new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        side.sent.push(chunk.toString());
        done();
      },
      final: (done) => {
        side.ended = true;
        done();
      },
    }),
  };
  return side;
}

/** Ends what comes from a side, and lets that be noticed by whoever reads it now. */
async function endBefore(stream: Duplex): Promise<void> {
  stream.push(null);
  stream.resume();
  await Bun.sleep(1);
  expect(stream.readableEnded).toBeTrue();
}

test("bytes go both ways, and the process's end is the client's", async () => {
  const [client, process] = [openSide(), openSide()];
  const joined = joinStreams({
    client: client.stream,
    process: process.stream,
    early: Buffer.from("early "),
  });
  client.stream.push("in");
  process.stream.push("out");
  client.stream.push(null);
  await Bun.sleep(1);
  expect({ in: process.sent.join(""), ended: process.ended }).toEqual({
    in: "early in",
    ended: true,
  });
  process.stream.push(null);
  await joined;
  expect({ out: client.sent.join(""), ended: client.ended }).toEqual({ out: "out", ended: true });
});

test("a process whose output is over before it is joined ends the client's", async () => {
  const [client, process] = [openSide(), openSide()];
  await endBefore(process.stream);
  void joinStreams({ client: client.stream, process: process.stream, early: Buffer.alloc(0) });
  await Bun.sleep(1);
  expect(client.ended).toBeTrue();
});

test("a client that has sent all before it is joined ends the process's input", async () => {
  const [client, process] = [openSide(), openSide()];
  await endBefore(client.stream);
  void joinStreams({
    client: client.stream,
    process: process.stream,
    early: Buffer.from("all"),
  });
  await Bun.sleep(1);
  expect({ sent: process.sent, ended: process.ended }).toEqual({ sent: ["all"], ended: true });
});
