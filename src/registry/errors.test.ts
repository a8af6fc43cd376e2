import { describe, expect, test } from "bun:test";
import { EngineError, errorKinds } from "../lib/errors.ts";
import { answerOf, codeOfKind, distributionCodes, isDiskFull, refusal } from "./errors.ts";

describe("answers to failures", () => {
  test("every kind has a code and a status", () => {
    for (const kind of errorKinds) {
      const { status, body, code } = answerOf(new EngineError(kind, "a sentence"));
      expect(code).toBe(codeOfKind[kind]);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(JSON.parse(body)).toMatchObject({ errors: [{ code }] });
    }
  });

  test("every code of the specification is there", () => {
    // OCI distribution-spec v1.1, "Error Codes"
    const published =
      "BLOB_UNKNOWN BLOB_UPLOAD_INVALID BLOB_UPLOAD_UNKNOWN DIGEST_INVALID MANIFEST_BLOB_UNKNOWN " +
      "MANIFEST_INVALID MANIFEST_UNKNOWN NAME_INVALID NAME_UNKNOWN SIZE_INVALID UNAUTHORIZED DENIED " +
      "UNSUPPORTED TOOMANYREQUESTS";
    for (const code of published.split(" ")) expect(Object.keys(distributionCodes)).toContain(code);
  });

  test("a refusal keeps its sentence, detail, status and headers", () => {
    const error = refusal("DENIED", {
      message: "not you",
      detail: { name: "x" },
      status: 418,
      headers: { Allow: "GET" },
    });
    const { status, headers, body } = answerOf(error);
    expect([status, headers]).toEqual([418, { Allow: "GET" }]);
    expect(JSON.parse(body)).toEqual({
      errors: [{ code: "DENIED", message: "not you", detail: { name: "x" } }],
    });
  });

  test("what is for the log is not told to the client", () => {
    for (const error of [
      new TypeError("undefined is not a function at /secret/path"),
      new EngineError("internal", "open /secret/path: EIO"),
      new EngineError("data-loss", "blob at /secret/path is damaged"),
    ]) {
      const { status, body } = answerOf(error);
      expect(status).toBe(500);
      expect(body).not.toContain("secret");
    }
  });

  test("a full disk is 507", () => {
    const full = new EngineError("unavailable", "write blob: no space left on device", {
      details: { code: "ENOSPC" },
    });
    expect(answerOf(full)).toMatchObject({ status: 507, code: "UNKNOWN" });
    expect(isDiskFull(full)).toBe(true);
    expect(isDiskFull(new EngineError("unavailable", "later"))).toBe(false);
  });
});
