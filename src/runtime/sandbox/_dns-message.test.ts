import { expect, test } from "bun:test";
import {
  addressBytes,
  emptyAnswer,
  encodeName,
  parseQuestion,
  recordsAnswer,
  recordType,
  reverseName,
} from "./_dns-message.ts";
import { parseNameservers } from "./_dns-forwarder.ts";

function query(name: string, type: number): Buffer {
  const head = Buffer.from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  return Buffer.concat([head, encodeName(name), Buffer.from([0, type, 0, 1])]);
}

test("a question is read in lower case", () => {
  const question = parseQuestion(query("Web.Example", recordType.a));
  expect(question).toMatchObject({ name: "web.example", type: 1 });
});

test("what is no query of one question is refused, however it is cut", () => {
  const whole = query("a.b", 1);
  for (let size = 0; size < whole.length; size += 1) {
    expect(parseQuestion(whole.subarray(0, size))).toBeUndefined();
  }
  const answer = Buffer.from(whole);
  answer[2] = 0x81;
  expect(parseQuestion(answer)).toBeUndefined();
  const compressed = Buffer.from(whole);
  compressed[12] = 0xc0;
  expect(parseQuestion(compressed)).toBeUndefined();
  const two = Buffer.from(whole);
  two[5] = 2;
  expect(parseQuestion(two)).toBeUndefined();
});

test("random bytes neither throw nor read beyond the message", () => {
  let state = 7;
  for (let round = 0; round < 5000; round += 1) {
    const bytes = Buffer.from(
      Array.from({ length: round % 60 }, () => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        return state >>> 24;
      }),
    );
    const question = parseQuestion(bytes);
    if (question !== undefined) expect(question.end).toBeLessThanOrEqual(bytes.length);
  }
});

test("an answer keeps id and question and counts its records", () => {
  const asked = query("web", recordType.a);
  const question = parseQuestion(asked);
  if (question === undefined) throw new TypeError("no question");
  const answer = recordsAnswer(asked, question, [Buffer.from([10, 0, 0, 1])]);
  expect(answer.readUInt16BE(0)).toBe(0x1234);
  expect((answer[2] ?? 0) & 0x80).toBe(0x80);
  expect(answer.readUInt16BE(6)).toBe(1);
  expect([...answer.subarray(-4)]).toEqual([10, 0, 0, 1]);
  expect((emptyAnswer(asked, question, 2)[3] ?? 0) & 0x0f).toBe(2);
});

test("addresses and their reverse names", () => {
  expect([...(addressBytes("10.1.2.3") ?? [])]).toEqual([10, 1, 2, 3]);
  expect(addressBytes("fe80::1")?.toString("hex")).toBe("fe800000000000000000000000000001");
  for (const bad of ["x", "1.2.3", "1::2::3", "1:2:3:4:5:6:7", ":::"]) {
    expect(addressBytes(bad)).toBeUndefined();
  }
  expect(reverseName("10.1.2.3")).toBe("3.2.1.10.in-addr.arpa");
  expect(reverseName("::1")).toBe(`1.${"0.".repeat(31)}ip6.arpa`);
});

test("parseNameservers() takes addresses and leaves its own out", () => {
  const text =
    "# x\nsearch a\nnameserver 127.0.0.11\nnameserver 127.0.0.53\n nameserver fe80::1%eth0 # y\nnameserver bad!\n";
  expect(parseNameservers(text)).toEqual(["127.0.0.53", "fe80::1"]);
});
