/** Users and their passwords, from a file that `htpasswd -B` or `tug registry htpasswd` writes. */
import { createHmac, randomBytes } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { EngineError, messageOf } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import { Semaphore } from "../../lib/concurrency/semaphore.ts";
import { verifyPassword } from "../../sys/password.ts";

/** Users a file may have. */
const usersMax = 100_000;
/** Rounds of a hash, as a power of two: more would let a login take seconds of a core. */
const costMax = 14;
/** Hashes that are computed at once; the others wait, so that logins leave cores for transfers. */
const verificationsMax = 2;
/** Checks that may wait. */
const waitingMax = 256;
/** How long a password that was right is known without hashing it again. */
const rememberedMs = 5 * 60_000;
/** Right passwords that are known. */
const rememberedMax = 10_000;
/** How often the file is looked at for changes. */
const lookPeriodMs = 1_000;
/** bcrypt takes no more, and a longer password is refused rather than cut. */
const passwordMaxBytes = 72;
/** What an unknown user's password is compared with while there are no users. */
const nobodyHash = "$2b$10$CwTycUXWue0Thq9StjUM0uJ8G9UoJ1Ah8uRhpW3x3bXjCe0IVt0Jm";

const lineForm = /^([^:\s]{1,255}):(\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53})$/;

/** Who may log in. */
export interface UserBase {
  /** Tells whether the password is the user's. @throws unavailable when too many ask at once */
  check(user: string, password: string): Promise<boolean>;
}

/**
 * Reads the lines of an htpasswd file: users and their bcrypt hashes.
 *
 * @throws invalid-argument for any line that is none, naming its number
 */
export function parseHtpasswd(text: string): ReadonlyMap<string, string> {
  const users = new Map<string, string>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const match = lineForm.exec(line.trimEnd());
    const [, user, hash, cost] = match ?? [];
    if (user === undefined || hash === undefined) {
      throw refused(index, "wanted <user>:<bcrypt hash>; make it with htpasswd -B");
    }
    if (Number(cost) < 4 || Number(cost) > costMax) {
      throw refused(index, `cost ${cost}: 4 to ${costMax} are taken`);
    }
    if (users.size >= usersMax) throw refused(index, `more than ${usersMax} users`);
    users.set(user, hash);
  }
  return users;
}

/** Opens a file of users; changes of the file are taken up by themselves. */
export function openHtpasswd(path: string, options: { readonly logger: Logger }): UserBase {
  return new HtpasswdFile(path, options.logger);
}

class HtpasswdFile implements UserBase {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #places = new Semaphore(verificationsMax);
  /** Passwords are remembered as hashes under a key that nobody else has. */
  readonly #key = randomBytes(32);
  readonly #right = new Map<string, number>();
  #users: ReadonlyMap<string, string>;
  /** What an unknown user's password is compared with: who asks cannot tell by the time it takes. */
  #nobodyHash: string;
  #version: string;
  #lookedMs = 0;
  #waitingCount = 0;

  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
    try {
      this.#version = versionOf(path);
      this.#users = parseHtpasswd(readFileSync(path, "utf8"));
      this.#nobodyHash = typicalHash(this.#users);
    } catch (error) {
      throw new EngineError("invalid-argument", `users of ${path}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  async check(user: string, password: string): Promise<boolean> {
    this.#look();
    if (Buffer.byteLength(password) > passwordMaxBytes || password.includes("\0")) return false;
    const hash = this.#users.get(user);
    const known = createHmac("sha256", this.#key)
      .update(JSON.stringify([user, password, hash ?? ""]))
      .digest("base64");
    if (hash !== undefined && (this.#right.get(known) ?? 0) > performance.now()) return true;
    if (this.#waitingCount >= waitingMax) {
      throw new EngineError("unavailable", "log in: too many logins at once, try again");
    }
    this.#waitingCount += 1;
    try {
      const isRight = await this.#places.run(() =>
        verifyPassword(password, hash ?? this.#nobodyHash),
      );
      if (!isRight || hash === undefined) return false;
    } finally {
      this.#waitingCount -= 1;
    }
    if (this.#right.size >= rememberedMax) this.#right.clear();
    this.#right.set(known, performance.now() + rememberedMs);
    return true;
  }

  /** Reads the file again when it has changed; a file that cannot be read leaves the users as they are. */
  #look(): void {
    if (performance.now() - this.#lookedMs < lookPeriodMs) return;
    this.#lookedMs = performance.now();
    try {
      const version = versionOf(this.#path);
      if (version === this.#version) return;
      this.#users = parseHtpasswd(readFileSync(this.#path, "utf8"));
      this.#nobodyHash = typicalHash(this.#users);
      this.#version = version;
      this.#right.clear();
      this.#logger.info("users read again", { path: this.#path, count: this.#users.size });
    } catch (error) {
      this.#logger.error("users could not be read again: the old ones stay", { error });
    }
  }
}

/** A hash of the cost that most of the users' have. */
function typicalHash(users: ReadonlyMap<string, string>): string {
  const byCost = Map.groupBy(users.values(), (hash) => hash.slice(0, "$2y$10".length));
  const [most] = [...byCost.values()].toSorted((left, right) => right.length - left.length);
  return most?.[0] ?? nobodyHash;
}

function versionOf(path: string): string {
  const { mtimeMs, size, ino } = statSync(path);
  return `${mtimeMs} ${size} ${ino}`;
}

function refused(index: number, problem: string): EngineError {
  return new EngineError("invalid-argument", `line ${index + 1}: ${problem}`);
}
