import { EngineError } from "../../lib/errors.ts";

const octet = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const dottedForm = new RegExp(`^${octet}(?:\\.${octet}){3}$`);
const mappedForm = new RegExp(`^(.*:)(${octet}(?:\\.${octet}){3})$`);

/** As node:net's, whose import alone would cost each shim 2 MB. */
function isIPv4(text: string): boolean {
  return dottedForm.test(text);
}

/** As node:net's, without zones. */
function isIPv6(text: string): boolean {
  const plain = text.replace(mappedForm, "$10:0");
  if (!/^[\da-f:]+$/i.test(plain)) return false;
  const halves = plain.split("::");
  const groups = halves.flatMap((half) => (half === "" ? [] : half.split(":")));
  if (!groups.every((group) => /^[\da-f]{1,4}$/i.test(group))) return false;
  return halves.length === 1 ? groups.length === 8 : halves.length === 2 && groups.length <= 7;
}

/** The 4 or 16 bytes of an IP address. @throws invalid-argument when it is none */
export function ipToBytes(text: string): Uint8Array {
  if (isIPv4(text)) return Uint8Array.from(text.split("."), Number);
  if (!isIPv6(text) || text.includes("%")) {
    throw new EngineError("invalid-argument", `invalid IP address ${JSON.stringify(text)}`);
  }
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const pair = (high: string | undefined, low: string | undefined): string =>
    (Number(high) * 256 + Number(low)).toString(16);
  const plain =
    dotted === null
      ? text
      : `${dotted[1]}${pair(dotted[2], dotted[3])}:${pair(dotted[4], dotted[5])}`;
  const [head = "", tail] = plain.split("::");
  const words = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((word) => Number.parseInt(word, 16));
  const before = words(head);
  const after = tail === undefined ? [] : words(tail);
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (const [index, word] of before.entries()) view.setUint16(index * 2, word);
  for (const [index, word] of after.entries()) view.setUint16((8 - after.length + index) * 2, word);
  return bytes;
}

/** The usual form of an address; IPv6 as RFC 5952 wants it. */
export function bytesToIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  const words = Array.from({ length: 8 }, (_, index) => view.getUint16(index * 2).toString(16));
  const runs = [
    ...words
      .map((word) => (word === "0" ? "0" : "x"))
      .join("")
      .matchAll(/0{2,}/g),
  ];
  const longest = runs.sort((a, b) => b[0].length - a[0].length)[0];
  if (longest === undefined) return words.join(":");
  const end = longest.index + longest[0].length;
  return `${words.slice(0, longest.index).join(":")}::${words.slice(end).join(":")}`;
}

/** An address with its prefix length (`172.17.0.2/16`). @throws invalid-argument */
export function parseCidr(text: string): { readonly bytes: Uint8Array; readonly prefix: number } {
  const [address = "", digits, ...others] = text.split("/");
  const bytes = ipToBytes(address);
  const prefix = Number(digits);
  const isPrefix = /^\d{1,3}$/.test(digits ?? "") && prefix <= bytes.length * 8;
  if (isPrefix && others.length === 0) return { bytes, prefix };
  throw new EngineError("invalid-argument", `invalid CIDR address ${JSON.stringify(text)}`);
}
