/** Decodes the body of `POST /images/{name}/signatures`: Tug's own. */
import { EngineError } from "../../lib/errors.ts";
import { decodeBody, struct, text } from "./decode.ts";

interface SignatureBody {
  readonly Payload: string;
  readonly Signature: string;
}

const signatureBody = struct<SignatureBody>({ Payload: text(), Signature: text() }, "Signature");
const base64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** @returns the signed document, and the signature in base64 @throws invalid-argument */
export function decodeSignature(bytes: Uint8Array): {
  readonly payload: Uint8Array;
  readonly signature: string;
} {
  const body = decodeBody(bytes, { goType: "Signature", decoder: signatureBody });
  for (const key of ["Payload", "Signature"] as const) {
    if (!base64.test(body[key] ?? "")) {
      throw new EngineError("invalid-argument", `sign image: ${key} is not base64`);
    }
  }
  return { payload: Buffer.from(body.Payload, "base64"), signature: body.Signature };
}
