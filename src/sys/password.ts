/** Passwords as bcrypt keeps them. */

/** Rounds of a new hash, as a power of two: htpasswd's own default is 5, which is too little now. */
const costNew = 10;

/**
 * Tells whether a password has a bcrypt hash; computed beside the event loop.
 *
 * @param hash `$2y$…`, `$2b$…` or `$2a$…`
 */
export async function verifyPassword(password: string, hash: string): Promise<boolean> {
  // Apache's `2y` marks the algorithm that others call `2b`.
  return await Bun.password.verify(password, hash.replace(/^\$2y\$/, "$2b$"), "bcrypt");
}

/** The bcrypt hash of a password, with a salt of its own, as htpasswd writes it. */
export async function hashPassword(password: string): Promise<string> {
  const hash = await Bun.password.hash(password, { algorithm: "bcrypt", cost: costNew });
  return hash.replace(/^\$2[ab]\$/, "$2y$");
}
