/** Where Tug's builds come to something else than BuildKit's, and why. Nothing else may differ. */
import type { BuildClientName } from "./build-side.ts";

/** A justified difference: it applies where all of its patterns match. */
export interface BuildDifference {
  /** Matches the case's name, and the path inside its summary. */
  readonly where: RegExp;
  readonly clients?: readonly BuildClientName[];
  /** Matches what BuildKit came to, as JSON. */
  readonly peer?: RegExp;
  /** Matches what Tug came to. */
  readonly tug?: RegExp;
  readonly why: string;
}

/** What Docker 28.5 refuses and Tug does: its BuildKit keeps them for its experimental frontend. */
const more: readonly BuildDifference[] = [
  { where: /^copy-parents\./, why: "COPY --parents is stable since Dockerfile 1.20" },
  { where: /^run-security-sandbox\./, why: "RUN --security is stable since Dockerfile 1.20" },
  {
    where: /^run-insecure-refused\.error$/,
    tug: /security\.insecure is not allowed/,
    why: "RUN --security is known, and needs leave",
  },
  {
    where: /^stages-scratch-nothing\./,
    peer: /\(absent\)|empty export - not implemented/,
    why: "Docker cannot save an image without layers; Tug can",
  },
];

/** Files that are as they were asked for. */
const truer: readonly BuildDifference[] = [
  {
    where: /^copy-chmod\.(layers\[4\]\[0\]|merged\.5)$/,
    peer: /directory 0755/,
    tug: /directory 1777/,
    why: "the folder copied itself gets all bits of --chmod; BuildKit loses those above 0777",
  },
  {
    where: /^source-date-epoch\.(layers|merged)/,
    tug: /1000000000000ms/,
    why: "no file is later than the epoch, so that the same sources make the same digest",
  },
  {
    where: /^copy-capability\./,
    tug: /security\.capability=/,
    why: "BuildKit sets the owner of what it has received last, which takes capabilities away",
  },
  {
    where: /^run-whiteout-name\./,
    peer: /\.wh\.|opaque|removed/,
    why: "a file that is named as a whiteout would delete others where the image is unpacked",
  },
  {
    where: /^run-file-to-folder\./,
    peer: /\.wh\.\.wh\.\.opq|"opaque"/,
    why: "a folder in a file's place hides nothing, so that it need not say so",
  },
  {
    where: /^mount-bind\.(layers\[5\]|merged\.opt$)/,
    peer: /opt directory|directory 0755/,
    why: "a mount point that is made for a command, and taken away, leaves its folder's time",
  },
  {
    where: /^add-tar-through-symlink\.(layers\[0\]\[0\]|merged\.opt)$/,
    peer: /now/,
    why: "what is unpacked through a link leaves the folder of the link alone",
  },
  {
    where: /^add-git-keep\./,
    why: "a repository's own files are as the machine's git makes them, with hooks or without",
  },
];

/** Other words for the same. */
const words: readonly BuildDifference[] = [
  {
    where: /^(volume-forms|braces-of-no-bash)\.warnings$/,
    tug: /findings/,
    why: "a list in single quotes and braces that sh leaves alone are warned of",
  },
  {
    where: /^comment-after-add\.error$/,
    peer: /"\/\S+\\": not found/,
    tug: /'###' is taken for a path: '#' begins a comment only at the start of a line/,
    why: "says why; and which of several missing files BuildKit names is not always the same",
  },
  {
    where: /^run-no-program\.error$/,
    peer: /exit code: 1"/,
    tug: /exit code: 127"/,
    why: "127 is what a shell calls a missing program",
  },
  {
    where: /^ignore-bad-pattern\.error$/,
    tug: /syntax error in pattern/,
    why: "names the pattern, or speaks as the classic client itself",
  },
  {
    where: /^wrong-copy-from-missing\.error$/,
    tug: /"\/nowhere\\": not found/,
    why: "as for every other file that is not there",
  },
  {
    where: /^wrong-mount-target\.error$/,
    tug: /cache mount needs a target/,
    why: "says what is missing",
  },
];

/** What the classic call cannot say, or its client does itself. */
const classic: readonly BuildDifference[] = [
  { where: /\.warnings$/, peer: /findings/, tug: /\[\]/, why: "it has no place for warnings" },
  {
    where: /\.error$/,
    peer: /did not complete successfully/,
    tug: /returned a non-zero code/,
    why: "its own words for a command that failed",
  },
  {
    where: /^ignore-(folder|all-but)\.(layers\[0\]|merged\.all\/dir$)/,
    tug: /now/,
    why: "the client sends files of a folder that is excluded, but not the folder",
  },
  { where: /^ignore-specific\./, why: "the client knows .dockerignore alone" },
  {
    where: /^wrong-(no-dockerfile|dockerfile-name|tag-name|add-host)\.error$/,
    why: "the client looks itself, in words of its own",
  },
].map((difference) => ({ ...difference, clients: ["classic"] as const }));

/** What our own client says and does. */
const own: readonly BuildDifference[] = [
  {
    where: /^stages-out-local\.output\[0\]$/,
    peer: /directory 0700/,
    tug: /directory 0755/,
    why: "the folder is made as others are, not for its owner alone",
  },
  {
    where: /^wrong-dockerfile-name\.error$/,
    tug: /open <folder>\/context\/Nowhere: no such file or directory/,
    why: "names the file by its whole path",
  },
  {
    where: /^wrong-(platform|tag-name|add-host)\.error$/,
    why: "flags are refused in the words of its other commands",
  },
].map((difference) => ({ ...difference, clients: ["tug"] as const }));

/** The table. */
export const buildDifferences: readonly BuildDifference[] = [
  ...more,
  ...truer,
  ...words,
  ...classic,
  ...own,
];
