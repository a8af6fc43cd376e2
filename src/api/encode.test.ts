import { expect, test } from "bun:test";
import { encodeJson } from "./encode.ts";

test("an answer is one line with a newline", () => {
  expect(encodeJson({ a: "<&>", b: null, c: undefined })).toBe('{"a":"<&>","b":null}\n');
});

test("nanoseconds keep all their digits", () => {
  expect(encodeJson({ timeNano: 1_795_265_973_608_102_943n })).toBe(
    '{"timeNano":1795265973608102943}\n',
  );
});
