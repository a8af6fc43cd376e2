import { expect, test } from "bun:test";
import { redactHeaders, redactText } from "./redact.ts";

test.each([
  ["https://registry.example/v2/", "https://registry.example/v2/"],
  ["https://user:hunter2@registry.example/v2/", "https://user:xxxxx@registry.example/v2/"],
  ["https://ghp_token@github.example/a.git", "https://xxxxx@github.example/a.git"],
  ["https://u:p@ss@host/", "https://u:xxxxx@host/"],
  ["get http://a:b@h/ and http://c:d@i/", "get http://a:xxxxx@h/ and http://c:xxxxx@i/"],
  ["https://h/blob?X-Amz-Signature=abc&x=1", "https://h/blob?X-Amz-Signature=xxxxx&x=1"],
  ["https://h/t?service=r&access_token=abc", "https://h/t?service=r&access_token=xxxxx"],
  ["Authorization: Bearer eyJhbGciOi.J9", "Authorization: Bearer xxxxx"],
  ["Basic dXNlcjpwYXNz", "Basic xxxxx"],
  ["mail me@example.com about https://h/", "mail me@example.com about https://h/"],
])("redactText(%j)", (text, safe) => {
  expect(redactText(text)).toBe(safe);
});

test("redactHeaders() hides the values of credentials alone", () => {
  const safe = redactHeaders({
    Authorization: "Basic abc",
    "X-Registry-Auth": "e30=",
    "Set-Cookie": ["a=b", "c=d"],
    Location: "https://u:p@h/",
    Accept: ["a", "b"],
    Missing: undefined,
  });
  expect(safe).toEqual({
    Authorization: "xxxxx",
    "X-Registry-Auth": "xxxxx",
    "Set-Cookie": "xxxxx",
    Location: "https://u:xxxxx@h/",
    Accept: "a, b",
  });
});
