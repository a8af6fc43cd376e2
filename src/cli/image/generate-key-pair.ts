import { existsSync, writeFileSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import { generateKeyPair } from "../../lib/signing-key.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { textFlag } from "../flag/flags.ts";
import { signingPassword } from "./signing-password.ts";

/** Makes a pair of keys for `image sign`. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [
    textFlag("output-key-prefix", "Name of the files: PREFIX.key and PREFIX.pub", {
      fallback: "cosign",
    }),
  ],
  details:
    "The files are those of cosign. The private key is sealed with a password, which is asked\n" +
    "for on the terminal or taken from COSIGN_PASSWORD.",
  completes: "none",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { flags, output } = invocation;
  const prefix = flags.isGiven("output-key-prefix") ? flags.text("output-key-prefix") : "cosign";
  const paths = { key: `${prefix}.key`, pub: `${prefix}.pub` };
  for (const path of Object.values(paths)) {
    if (!existsSync(path)) continue;
    throw new EngineError("already-exists", `generate key pair: ${path} is there already`);
  }
  const pair = generateKeyPair(
    await signingPassword(invocation, "Enter password for private key: "),
  );
  writeFileSync(paths.key, pair.privateKey, { mode: 0o600, flag: "wx" });
  writeFileSync(paths.pub, pair.publicKey, { mode: 0o644, flag: "wx" });
  output.err(`Private key written to ${paths.key}\nPublic key written to ${paths.pub}\n`);
  return 0;
}
