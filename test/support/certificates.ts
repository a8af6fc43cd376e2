/** Certificates for tests, made by openssl. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runOk } from "./process.ts";

const keyArgs = ["-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/** What a certificate is to say. */
export interface CertificatePlan {
  /** Name of the authority that signs it; none makes it one itself. */
  readonly signer?: string;
  /** As openssl writes extensions: `subjectAltName=IP:127.0.0.1`. */
  readonly extension?: string;
  /** From now on; less than none for one that has expired. */
  readonly days?: number;
}

/** Makes `<name>.pem` and `<name>.key` for each plan, in order, in a folder. */
export async function makeCertificates(
  folder: string,
  plans: Readonly<Record<string, CertificatePlan>>,
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const file = (name: string): string => join(folder, name);
  for (const [name, { signer, extension, days = 2 }] of Object.entries(plans)) {
    const made = ["-subj", `/CN=${name}`, "-keyout", file(`${name}.key`)];
    const valid = ["-days", String(days)];
    const out = ["-out", file(`${name}.pem`)];
    if (signer === undefined) {
      await runOk(["openssl", "req", "-x509", ...valid, ...keyArgs, ...made, ...out]);
      continue;
    }
    await runOk(["openssl", "req", "-new", ...keyArgs, ...made, "-out", file(`${name}.csr`)]);
    writeFileSync(file(`${name}.ext`), `${extension ?? "basicConstraints=CA:FALSE"}\n`);
    await runOk([
      ...["openssl", "x509", "-req", ...valid, "-in", file(`${name}.csr`)],
      ...["-CA", file(`${signer}.pem`), "-CAkey", file(`${signer}.key`), "-CAcreateserial"],
      ...["-extfile", file(`${name}.ext`), ...out],
    ]);
  }
}
