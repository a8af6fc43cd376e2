/** Images for tests, made of this machine's static busybox alone. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { type TarEntry, tar } from "./tar.ts";

/** Every image of the tests has it, so that what was made from them can be found. */
export const testLabel = "tugtest";

/** How an image of the tests is made: files over busybox, and instructions over none. */
export interface ImageRecipe {
  readonly entries?: readonly TarEntry[];
  readonly changes: readonly string[];
}

const script = (text: string): Pick<TarEntry, "content" | "mode"> => ({
  content: `#!/bin/sh\n${text}\n`,
  mode: 0o755,
});

/** The images by name. */
export const recipes: Readonly<Record<string, ImageRecipe>> = {
  busybox: { changes: ['CMD ["sh"]'] },
  web: {
    entries: [
      { name: "www/", type: "directory" },
      { name: "www/index.html", content: "hello from web\n" },
    ],
    changes: [
      "EXPOSE 8080",
      'CMD ["httpd","-f","-p","8080","-h","/www"]',
      "STOPSIGNAL SIGKILL",
      "ENV WEB=1",
    ],
  },
  volimg: {
    entries: [
      { name: "data/", type: "directory", uid: 1000, gid: 1000, mode: 0o750 },
      { name: "data/seed", content: "seeded\n", uid: 1000, gid: 1000 },
      { name: "data/link", type: "symlink", link: "seed" },
    ],
    changes: ["VOLUME /data", 'CMD ["sh"]'],
  },
  ep: {
    entries: [{ name: "ep", ...script('echo "$@"') }],
    changes: ['ENTRYPOINT ["/ep"]', 'CMD ["from","cmd"]'],
  },
  setup: {
    entries: [{ name: "setup", ...script('export READY=yes\nexec "$@"') }],
    changes: ['ENTRYPOINT ["/setup"]', 'CMD ["sh","-c","echo $$ $READY"]'],
  },
  noentry: { changes: [] },
  user: {
    changes: ["USER app", "WORKDIR /work/here", "ENV GREETING=hello", 'CMD ["sh"]'],
  },
};

/** The archive of a recipe's root file system. */
export function rootTar(recipe: ImageRecipe = { changes: [] }): Buffer {
  return tar([...busyboxEntries(), ...(recipe.entries ?? [])]);
}

/** A root file system of busybox, with links for its applets and three users. */
export function busyboxEntries(): readonly TarEntry[] {
  const folders = ["bin/", "dev/", "etc/", "home/", "home/app/", "proc/", "root/", "sys/", "usr/"];
  return [
    ...folders.map((name): TarEntry => ({ name, type: "directory" })),
    { name: "tmp/", type: "directory", mode: 0o1777 },
    { name: "bin/busybox", content: readFileSync("/bin/busybox"), mode: 0o755 },
    ...applets().map(
      (name): TarEntry => ({ name: `bin/${name}`, type: "symlink", link: "busybox" }),
    ),
    {
      name: "etc/passwd",
      content:
        "root:x:0:0:root:/root:/bin/sh\n" +
        "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n" +
        "app:x:1000:1000:app:/home/app:/bin/sh\n",
    },
    {
      name: "etc/group",
      content: "root:x:0:\ntty:x:5:\nnogroup:x:65534:\napp:x:1000:\nextra:x:1234:app\n",
    },
  ];
}

function applets(): readonly string[] {
  const listed = Bun.spawnSync(["/bin/busybox", "--list"]).stdout.toString().split("\n");
  return listed.filter((name) => name !== "" && name !== "busybox");
}

/** What a docker-archive is made of; each part may lie. */
export interface ArchiveParts {
  readonly tags?: readonly string[];
  readonly layers: readonly Uint8Array[];
  /** Merged over a config that is true. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Put instead of the config's bytes. */
  readonly configText?: string;
  /** Put instead of manifest.json. */
  readonly manifestText?: string;
  readonly diffIds?: readonly string[];
  readonly extra?: readonly TarEntry[];
}

/** An archive as `docker save` of older versions wrote it: manifest.json, a config, layers. */
export function dockerArchive(parts: ArchiveParts): Buffer {
  const diffIds = parts.diffIds ?? parts.layers.map((layer) => `sha256:${sha256(layer)}`);
  const config =
    parts.configText ??
    JSON.stringify({
      architecture: process.arch === "arm64" ? "arm64" : "amd64",
      os: "linux",
      created: "2026-01-01T00:00:00Z",
      config: { Cmd: ["sh"], Labels: { [testLabel]: "1" } },
      rootfs: { type: "layers", diff_ids: diffIds },
      history: parts.layers.map(() => ({ created: "2026-01-01T00:00:00Z", created_by: "test" })),
      ...parts.config,
    });
  const configName = `${sha256(config)}.json`;
  const names = parts.layers.map((_, index) => `layer${index}/layer.tar`);
  const manifest = [{ Config: configName, RepoTags: parts.tags ?? null, Layers: names }];
  return tar([
    ...parts.layers.map((content, index): TarEntry => ({ name: names[index] ?? "", content })),
    { name: configName, content: config },
    { name: "manifest.json", content: parts.manifestText ?? JSON.stringify(manifest) },
    ...(parts.extra ?? []),
  ]);
}

/** The sha256 of bytes, in hex. */
export function sha256(bytes: string | Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
