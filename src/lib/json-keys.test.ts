import { describe, expect, test } from "bun:test";
import { duplicateKeyOf } from "./json-keys.ts";

describe("duplicateKeyOf()", () => {
  for (const [text, key] of [
    ["{}", undefined],
    ['"a"', undefined],
    ['{"a":1,"b":{"a":2},"c":[{"a":3},{"a":4}]}', undefined],
    ['{"a":"a","b":"\\"a\\":","c":"{\\"a\\":1,\\"a\\":2}"}', undefined],
    ['["a","a",{"b":["a","a"]}]', undefined],
    ['{"a":1,"a":1}', "a"],
    ['{"a" : 1 ,\n "b":[{},{"c":1,"d":[],"c":2}]}', "c"],
    ['{"a":{},"\\u0061":1}', "a"],
    ['{"":1,"":2}', ""],
    ['{"__proto__":1,"__proto__":2}', "__proto__"],
    ['{"a\\\\":1,"a\\\\":2}', "a\\"],
  ] as const) {
    test(text, () => expect(duplicateKeyOf(text)).toBe(key));
  }
});
