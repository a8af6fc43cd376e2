#!/usr/bin/env node
// Prepares this machine for Tug and then runs what was asked: demo, test, bench, or a tug command.
// Plain JavaScript for any Node from 18 on: it runs before anything of the project is installed.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bun = join(root, "node_modules/.bin/bun");
const executable = join(root, "dist/tug");

/** Debian packages by purpose: the file that proves one is there, and what it is for. */
const packages = [
  { name: "crun", proof: "/usr/bin/crun", purpose: "the OCI runtime" },
  { name: "nftables", proof: "/usr/sbin/nft", purpose: "published ports and NAT" },
  { name: "busybox-static", proof: "/bin/busybox", purpose: "the image of the demo and the tests" },
  {
    name: "golang-github-containers-common",
    proof: "/usr/share/containers/seccomp.json",
    purpose: "the seccomp profile",
  },
  { name: "tini", proof: "/usr/bin/tini-static", purpose: "run --init" },
];
const testPackages = [
  { name: "git", proof: "/usr/bin/git", purpose: "repositories as build contexts" },
  { name: "xz-utils", proof: "/usr/bin/xz", purpose: "ADD of .tar.xz" },
  { name: "bzip2", proof: "/usr/bin/bzip2", purpose: "ADD of .tar.bz2" },
  { name: "zstd", proof: "/usr/bin/zstd", purpose: "archives made by the tests" },
  { name: "runc", proof: "/usr/sbin/runc", purpose: "the second OCI runtime" },
  { name: "iproute2", proof: "/usr/sbin/ip", purpose: "networks made by the tests" },
  {
    name: "e2fsprogs",
    proof: "/usr/sbin/mkfs.ext4",
    purpose: "full disks and power cuts in tests",
  },
  { name: "docker.io", proof: "/usr/bin/docker", purpose: "the docker CLI as a client" },
  {
    name: "docker-registry",
    proof: "/usr/bin/docker-registry",
    purpose: "a registry to pull from and push to",
  },
  { name: "skopeo", proof: "/usr/bin/skopeo", purpose: "another client of registries" },
  {
    name: "python3-docker",
    proof: "/usr/lib/python3/dist-packages/docker/client.py",
    purpose: "Docker's SDK for Python as a client",
  },
  {
    name: "apache2-utils",
    proof: "/usr/bin/htpasswd",
    purpose: "users of a registry, made by another",
  },
  { name: "openssl", proof: "/usr/bin/openssl", purpose: "certificates of that registry" },
];

const [task = "", ...args] = process.argv.slice(2);
process.chdir(root);

switch (task) {
  case "demo":
    requireDebianRoot();
    prepare(packages);
    end(bun, ["tools/demo.ts", ...args]);
    break;
  case "test":
    requireDebianRoot();
    prepare([...packages, ...testPackages.filter(isWanted)]);
    end(bun, ["tools/ok.ts", ...args]);
    break;
  case "bench":
    requireDebianRoot();
    prepare(packages);
    end(bun, ["bench/bench.ts", ...args]);
    break;
  case "prepare":
    prepare(packages);
    break;
  default:
    installModules();
    compile();
    end(executable, process.argv.slice(2));
}

function isWanted(entry) {
  // Any docker CLI will do; Debian's package is wanted only where there is none.
  return entry.name !== "docker.io" || !onPath("docker");
}

function onPath(command) {
  return (process.env.PATH ?? "").split(":").some((folder) => existsSync(join(folder, command)));
}

function requireDebianRoot() {
  const lacks = [];
  if (process.platform !== "linux") lacks.push(`Linux (this is ${process.platform})`);
  if (!["x64", "arm64"].includes(process.arch))
    lacks.push(`amd64 or arm64 (this is ${process.arch})`);
  if (process.getuid?.() !== 0) lacks.push("root: containers are made by root; try sudo");
  if (!existsSync("/etc/debian_version"))
    lacks.push("Debian or a relative: packages come by apt-get");
  if (lacks.length > 0) fail(`this needs\n${lacks.map((lack) => `  - ${lack}`).join("\n")}`);
}

function prepare(wanted) {
  installPackages(wanted);
  installModules();
  compile();
}

function installPackages(wanted) {
  const missing = wanted.filter((entry) => !existsSync(entry.proof));
  if (missing.length === 0) return;
  for (const entry of missing) say(`installing ${entry.name}: ${entry.purpose}`);
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const names = missing.map((entry) => entry.name);
  const install = ["install", "-y", "-qq", "--no-install-recommends", ...names];
  const run = (list) => spawnSync("apt-get", list, { env: environment, encoding: "utf8" });
  // The package lists may be absent or old on a new machine, so they are fetched first.
  const lists = run(["-qq", "update"]);
  const done = run(install);
  if (done.status !== 0) {
    fail(`apt-get ${install.join(" ")} ended with ${done.status}:\n${lists.stderr}${done.stderr}`);
  }
}

function installModules() {
  const lock = join(root, "package-lock.json");
  const installed = join(root, "node_modules/.package-lock.json");
  if (existsSync(bun) && existsSync(installed) && mtime(installed) >= mtime(lock)) return;
  say("installing npm packages, with the pinned Bun");
  // Not `npm ci`: it refuses a lock file when a registry lacks binaries of other platforms.
  const done = spawnSync(
    "npm",
    ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"],
    {
      stdio: ["ignore", "ignore", "inherit"],
    },
  );
  if (done.status !== 0) fail("npm install did not succeed; is the npm registry reachable?");
}

function compile() {
  if (
    existsSync(executable) &&
    mtime(executable) >= newest(["src", "package-lock.json", "tools/build.ts"])
  )
    return;
  say("compiling dist/tug");
  const done = spawnSync(bun, ["tools/build.ts"], { stdio: ["ignore", "ignore", "inherit"] });
  if (done.status !== 0) fail("the executable did not compile");
}

function newest(paths) {
  return Math.max(
    ...paths.map((path) => {
      const stats = statSync(path);
      if (!stats.isDirectory()) return stats.mtimeMs;
      return Math.max(
        stats.mtimeMs,
        newest(
          readdirSync(path)
            .map((name) => join(path, name))
            .concat("package.json"),
        ),
      );
    }),
  );
}

function mtime(path) {
  return statSync(path).mtimeMs;
}

function end(command, list) {
  const done = spawnSync(command, list, { stdio: "inherit" });
  if (done.error) fail(`${command}: ${done.error.message}`);
  process.exit(done.status ?? 1);
}

function say(sentence) {
  process.stderr.write(`tug: ${sentence}\n`);
}

function fail(sentence) {
  say(sentence);
  process.exit(1);
}
