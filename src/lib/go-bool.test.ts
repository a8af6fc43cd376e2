import { expect, test } from "bun:test";
import { findGoBool } from "./go-bool.ts";

test("the words of Go for true and false, and no others", () => {
  for (const text of ["1", "t", "T", "true", "TRUE", "True"]) expect(findGoBool(text)).toBe(true);
  for (const text of ["0", "f", "F", "false", "FALSE", "False"])
    expect(findGoBool(text)).toBe(false);
  for (const text of ["", "2", "yes", "tRUE", "true ", "on"])
    expect(findGoBool(text)).toBeUndefined();
});
