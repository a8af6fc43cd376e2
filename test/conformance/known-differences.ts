/** Where Tug answers otherwise than Docker, and why. Nothing else may differ. */

/** A justified difference: it applies where all of its patterns match. */
export interface KnownDifference {
  /** Matches the scenario, the step's label and the path inside its answer. */
  readonly where: RegExp;
  /** Matches what Docker said, when the difference is about that. */
  readonly peer?: RegExp;
  /** Matches what Tug said. */
  readonly tug?: RegExp;
  readonly why: string;
}

/** What Docker is known by and Tug is not made of. */
const otherParts: readonly KnownDifference[] = [
  {
    where: /^version and info: .*BuildTime$/,
    why: "an executable is the same whenever it is made",
  },
  { where: /Details\.Runtime$/, why: "what Tug itself runs on, where Docker says its Go version" },
  { where: /^version and info: .*\.(Containerd|CDISpecDirs)$/, why: "Tug has neither" },
  { where: /\.KernelMemoryTCP$/, why: "Docker's is a leftover: create refuses the limit" },
  { where: /^version and info: .*\.Runtimes\./, why: "each engine's own OCI runtimes" },
  { where: /\.DockerVersion$/, tug: /^""$/, why: "Docker did not make the image" },
];

/** Files that nobody wrote. */
const madeFiles: readonly KnownDifference[] = [
  {
    where: /^export: its files/,
    peer: /^"file etc\/(hostname|hosts|resolv\.conf) 755/,
    tug: /^"file etc\/(hostname|hosts|resolv\.conf) 700/,
    why: "the runtime makes what it mounts on, for its owner alone",
  },
];

/** Sentences instead of what went wrong inside, and the right party blamed. */
const otherWords: readonly KnownDifference[] = [
  {
    where: /\.status$/,
    peer: /^500$/,
    tug: /^(400|404|409)$/,
    why: "the request is at fault, not the engine; the message is Docker's",
  },
  {
    where: /^images: tag .*\.status$/,
    peer: /^404$/,
    tug: /^400$/,
    why: "a name that can be none is refused as such everywhere",
  },
  {
    where: /^auth: .*message$/,
    tug: /^"(invalid JSON: |Get )/,
    why: "every body that is no JSON is refused in the same words; Go's name for a name server",
  },
  { where: /^auth: .*status$/, peer: /^500$/, tug: /^503$/, why: "the registry cannot be reached" },
  {
    where: /\.headers\.(api-version|ostype|docker-experimental)$/,
    peer: /absent/,
    why: "Tug has these headers on every answer, refusals included",
  },
  {
    where: /GET \/v1\.23\/version\.(body|headers\.content-type)$/,
    why: "refusals are JSON everywhere, as the API says",
  },
  {
    where: /attach.*\.(body|headers\.content-type|head|bytes)$/i,
    peer: /raw-stream|^"(No such container|container .* is paused|Invalid detach keys)/,
    tug: /application\/json|message/,
    why: "refusals are JSON everywhere, as the API says; Docker sends its text as a stream",
  },
  {
    where: /attach by websocket: without handshake/,
    why: "refusals are JSON everywhere; Docker's are its library's",
  },
  {
    where: /GET \/v1\.51\/containers\/\/json|GET \/v1\.51\/\/version|: by name with slash\./,
    why: "a slash too many is read over; Docker redirects, which clients do not follow",
  },
  { where: /OPTIONS \/v1\.51\/version/, why: "an API for programs answers no browser's question" },
  { where: /create memory as text\.body\.message$/, why: "the Go version's way to name a field" },
  { where: /inspect bad platform\.body\.message$/, why: "Docker's words are its JSON parser's" },
  {
    where: /create from nowhere\.(status|body\.message)$|images: get cf-nothing:x\.body\.message$/,
    why: "says what is meant",
  },
  {
    where: /import garbage\.body\.message$/,
    why: "says which entry of the archive is wrong, and how",
  },
];

/** What Tug refuses, and Docker takes. */
const refusedEarlier: readonly KnownDifference[] = [
  {
    where: /(create|inspect) (restart policy|restart always|bad userns mode|health .*|links .*)/,
    why: "refused by name until it is there",
  },
  { where: /(create|inspect) init($|\.)/, why: "needs an init helper, which this machine lacks" },
  {
    where:
      /(create|inspect) (bad log size|bad protocol|bad sysctl|bad ulimit|soft above hard|bad device rule)/,
    why: "Docker takes it and fails at the start; Tug says so at once",
  },
  {
    where: /name x{20}\./,
    why: "a name is a label of DNS and part of paths: its length is bounded",
  },
  { where: /create no image\.body\.message$/, why: "Docker looks for the command first" },
  {
    where: /tag with no repo/,
    why: "Docker answers 200 and does nothing",
  },
  { where: /no names to save/, why: "Docker sends an archive of no image" },
  { where: /import nothing/, why: "Docker makes an image of an empty body" },
  {
    where: /: load (nothing|garbage|empty archive|what is no archive of images)/,
    why: "nothing was done yet: the status says so; Docker's 200 has the refusal in its body",
  },
  {
    where: /working folder that is a file/,
    why: "Docker looks into the file system at creation; Tug mounts it at the start, which fails",
  },
  { where: /create cluster/, tug: /501|cluster volumes/, why: "there is no cluster yet" },
];

/** What Tug knows longer or tells more of. */
const knowsMore: readonly KnownDifference[] = [
  {
    where: /^disk usage: 1\.41: kinds$/,
    why: "the cache's sum is left out where there is no cache, and each engine has its own",
  },
  {
    where: /^images: (list|inspect) manifests.*\.Manifests$/,
    peer: /^\(absent\)$/,
    why: "Docker tells of manifests with its containerd image store alone",
  },
  {
    where: /inspect anonymous volume\.body\.Mounts\[0\]\.(Name|Mode)$/,
    why: "Docker forgets the name of a volume that -v made, and adds a mode for SELinux",
  },
  {
    where: /VolumeOptions\.Labels\.com\.docker\.volume\.anonymous$/,
    why: "Docker writes its own label into what was asked for",
  },
  {
    where: /inspect namespaces of the host\.body\.Config\.Hostname$/,
    why: "in the host's UTS namespace its name is the host's",
  },
  {
    where: /network disabled\.body\.NetworkSettings\.Networks\.bridge$/,
    why: "the field does nothing in Docker's CLI any more; the network mode says what is meant",
  },
  {
    where: /its state\.body\.(ResolvConf|Hostname|Hosts|Log)Path$/,
    tug: /^""$/,
    why: "a container that never ran has none of these files",
  },
  {
    where: /exec detached and refused: (inspect|start) after the end/,
    why: "Docker forgets an exec with its container's end, before anybody could ask how it ended",
  },
  {
    where: /exec detached and refused: resize before start/,
    why: "Docker waits ten seconds and fails; Tug uses the size at the start",
  },
];

/** The table. */
export const knownDifferences: readonly KnownDifference[] = [
  ...otherParts,
  ...madeFiles,
  ...otherWords,
  ...refusedEarlier,
  ...knowsMore,
];
