import { describe, expect, test } from "bun:test";
import { parseInstruction } from "../dockerfile/parse.ts";
import { type ConfigInstruction, StageImage } from "./stage-image.ts";
import type { ImageConfig } from "../../oci/image-config.ts";

const platform = { os: "linux", architecture: "amd64" };

function applied(lines: readonly string[], base?: ImageConfig): StageImage {
  const image = new StageImage(platform, base);
  for (const line of lines) image.apply(parseInstruction(line) as ConfigInstruction);
  return image;
}

function historyOf(image: StageImage): readonly (string | undefined)[] {
  return image.history.map(({ entry }) => entry.created_by);
}

const base: ImageConfig = {
  architecture: "amd64",
  os: "linux",
  config: {
    Hostname: "left",
    Tty: false,
    Env: ["PATH=/p", "A=1"],
    Cmd: ["from", "base"],
    OnBuild: ["RUN x"],
    Labels: {},
    WorkingDir: "",
  },
  rootfs: { type: "layers", diff_ids: [] },
  history: [{ created: "2020-01-01T00:00:00Z", created_by: "base" }],
};

describe("StageImage", () => {
  // Recorded from BuildKit 0.29.
  test.each([
    ["ENV A=b C=d", "ENV A=b C=d"],
    ["LABEL x=y z=q", "LABEL x=y z=q"],
    ['CMD ["a","b\\"c"]', 'CMD ["a" "b\\"c"]'],
    ["CMD echo hi", 'CMD ["/bin/sh" "-c" "echo hi"]'],
    ['ENTRYPOINT ["/x"]', 'ENTRYPOINT ["/x"]'],
    ["ENTRYPOINT foo", 'ENTRYPOINT ["/bin/sh" "-c" "foo"]'],
    ["EXPOSE 80 90/udp", "EXPOSE [80/tcp 90/udp]"],
    ["VOLUME /v /v2", "VOLUME [/v /v2]"],
    ["USER 1000:1000", "USER 1000:1000"],
    ["STOPSIGNAL SIGINT", "STOPSIGNAL SIGINT"],
    ["MAINTAINER Joe <j@x>", "MAINTAINER Joe <j@x>"],
    ['SHELL ["/bin/sh","-ec"]', "SHELL [/bin/sh -ec]"],
    ["HEALTHCHECK NONE", `HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" '\\x00'}`],
    [
      "HEALTHCHECK --interval=5s --retries=2 CMD echo ok",
      `HEALTHCHECK &{["CMD-SHELL" "echo ok"] "5s" "0s" "0s" "0s" '\\x02'}`,
    ],
  ])("writes the history of %s as BuildKit does", (line, expected) => {
    expect(historyOf(applied([line]))).toEqual([expected]);
  });

  test("ONBUILD leaves no trace in the history", () => {
    const image = applied(["ONBUILD RUN x"]);
    expect(historyOf(image)).toEqual([]);
    expect(image.config.OnBuild).toEqual(["RUN x"]);
  });

  test("an entry point takes the base's command away, but not the stage's own", () => {
    expect(applied(['ENTRYPOINT ["/e"]'], base).config.Cmd).toBeUndefined();
    expect(applied(['CMD ["c"]', 'ENTRYPOINT ["/e"]'], base).config.Cmd).toEqual(["c"]);
    expect(applied(['ENTRYPOINT ["/e"]', 'CMD ["c"]'], base).config.Cmd).toEqual(["c"]);
  });

  test("a stage on top of one with a command is a base like any other", () => {
    const below = applied(['CMD ["c"]']);
    const above = below.fork(platform);
    above.apply(parseInstruction('ENTRYPOINT ["/e"]') as ConfigInstruction);
    expect(above.config.Cmd).toBeUndefined();
    expect(below.config.Cmd).toEqual(["c"]);
  });

  test("drops what only a container has, what is empty, and triggers", () => {
    const { config } = new StageImage(platform, base);
    expect(config).toEqual({ Env: ["PATH=/p", "A=1"], Cmd: ["from", "base"] });
  });

  test("gives a search path to an image without one", () => {
    expect(new StageImage(platform).env).toEqual([
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]);
  });

  test("a variable that is set again keeps its place", () => {
    expect(applied(["ENV A=2 B=3"], base).env).toEqual(["PATH=/p", "A=2", "B=3"]);
  });

  test.each([
    ["a", "/a"],
    ["../c", "/c"],
    ["/x/./y/../z", "/x/z"],
    ["", "/"],
    ["../../..", "/"],
  ])("setWorkingDir(%p) from / is %p", (path, expected) => {
    expect(new StageImage(platform).setWorkingDir(path)).toBe(expected);
  });

  test("commands after SHELL use it; those before keep theirs", () => {
    const image = applied(["CMD a", 'SHELL ["/s","-x"]', "ENTRYPOINT b"]);
    expect(image.config.Cmd).toEqual(["/bin/sh", "-c", "a"]);
    expect(image.config.Entrypoint).toEqual(["/s", "-x", "b"]);
  });

  test("copy() is not changed by what follows", () => {
    const image = applied(["ENV A=1"]);
    const copy = image.copy();
    image.apply(parseInstruction("ENV A=2") as ConfigInstruction);
    expect(copy.env).toContain("A=1");
    expect(historyOf(copy)).toEqual(["ENV A=1"]);
  });
});
