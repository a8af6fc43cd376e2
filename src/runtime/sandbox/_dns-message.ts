/** As much of DNS messages as a forwarder needs. @see RFC 1035, section 4 */

/** The longest message over UDP without an extension; larger ones say so themselves. */
const headerBytes = 12;
const nameMaxBytes = 255;
const classInternet = 1;
const answerLifeSeconds = 600;

/** Types of records that are answered here. */
export const recordType = { a: 1, ptr: 12, aaaa: 28 } as const;

/** The question of a query. */
export interface DnsQuestion {
  /** In lower case, without the last dot. */
  readonly name: string;
  readonly type: number;
  /** Where the question ends in the message. */
  readonly end: number;
}

/** Reads the one question of a query; undefined when it is none, or not of one question. */
export function parseQuestion(message: Buffer): DnsQuestion | undefined {
  if (message.length < headerBytes) return undefined;
  const isQuery = ((message[2] ?? 0) & 0xf8) === 0;
  if (!isQuery || message.readUInt16BE(4) !== 1) return undefined;
  const labels: string[] = [];
  let at = headerBytes;
  for (;;) {
    const length = message[at];
    // A compressed name has nothing to point to in a question.
    if (length === undefined || length > 63 || at - headerBytes > nameMaxBytes) return undefined;
    at += 1;
    if (length === 0) break;
    if (at + length > message.length) return undefined;
    labels.push(message.toString("latin1", at, at + length).toLowerCase());
    at += length;
  }
  if (at + 4 > message.length || message.readUInt16BE(at + 2) !== classInternet) return undefined;
  return { name: labels.join("."), type: message.readUInt16BE(at), end: at + 4 };
}

/** An answer without records: code 2 SERVFAIL, 1 FORMERR, 0 for "no such record". */
export function emptyAnswer(
  query: Buffer,
  question: DnsQuestion | undefined,
  code: number,
): Buffer {
  const answer = Buffer.from(query.subarray(0, question?.end ?? headerBytes));
  answer[2] = 0x80 | ((query[2] ?? 0) & 0x79);
  answer[3] = 0x80 | code;
  answer.writeUInt16BE(question === undefined ? 0 : 1, 4);
  answer.fill(0, 6, headerBytes);
  return answer;
}

/** An answer of records, each the bytes of its data. */
export function recordsAnswer(
  query: Buffer,
  question: DnsQuestion,
  records: readonly Uint8Array[],
): Buffer {
  const head = emptyAnswer(query, question, 0);
  head.writeUInt16BE(records.length, 6);
  const encoded = records.map((data) => {
    const record = Buffer.alloc(12 + data.length);
    // A pointer to the question's name.
    record.writeUInt16BE(0xc000 | headerBytes, 0);
    record.writeUInt16BE(question.type, 2);
    record.writeUInt16BE(classInternet, 4);
    record.writeUInt32BE(answerLifeSeconds, 6);
    record.writeUInt16BE(data.length, 10);
    record.set(data, 12);
    return record;
  });
  return Buffer.concat([head, ...encoded]);
}

/** A name as it stands in a record. */
export function encodeName(name: string): Buffer {
  const labels = name.split(".").filter((label) => label !== "");
  const parts = labels.flatMap((label) => {
    const bytes = Buffer.from(label, "latin1").subarray(0, 63);
    return [Buffer.from([bytes.length]), bytes];
  });
  return Buffer.concat([...parts, Buffer.from([0])]);
}

/** The bytes of an IP address; undefined for other text. */
export function addressBytes(address: string): Buffer | undefined {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(address)) return Buffer.from(address.split(".").map(Number));
  const halves = address.split("::");
  if (!address.includes(":") || halves.length > 2) return undefined;
  const [head = [], tail = []] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const missing = 8 - head.length - tail.length;
  if (missing < 0 || (halves.length === 1 && missing !== 0)) return undefined;
  const groups = [...head, ...Array<string>(missing).fill("0"), ...tail];
  if (!groups.every((group) => /^[\da-f]{1,4}$/i.test(group))) return undefined;
  const bytes = Buffer.alloc(16);
  for (const [index, group] of groups.entries()) {
    bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2);
  }
  return bytes;
}

/** The name under which an address is looked up backwards. */
export function reverseName(address: string): string | undefined {
  const bytes = addressBytes(address);
  if (bytes === undefined) return undefined;
  if (bytes.length === 4) return `${[...bytes].reverse().join(".")}.in-addr.arpa`;
  return `${[...bytes.toString("hex")].reverse().join(".")}.ip6.arpa`;
}
