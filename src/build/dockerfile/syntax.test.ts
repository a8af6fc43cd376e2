import { expect, test } from "bun:test";
import { checkSyntax } from "./syntax.ts";

test.each([
  undefined,
  "",
  "docker/dockerfile",
  "docker/dockerfile:1",
  "docker.io/docker/dockerfile:1.7-labs",
  "docker/dockerfile-upstream:master",
  "mirror.example:5000/docker/dockerfile:1 word",
  "mirror.example/hub/docker/dockerfile@sha256:".concat("0".repeat(64)),
])("%p is read here", (frontend) => {
  checkSyntax(frontend);
});

test.each(["dockerfile", "other/dockerfile:1", "docker/dockerfile-x", "UPPER", "-"])(
  "%p is refused by name",
  (frontend) => {
    expect(() => checkSyntax(frontend)).toThrow(`frontend ${JSON.stringify(frontend)} is not`);
  },
);
