import { connect } from "../../client/connection.ts";
import { EngineError } from "../../lib/errors.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { openSession } from "../session/session.ts";

/** Joins standard input and output to the engine's socket, for clients on the other end of SSH. */
export const command: Command = { usage: "", operands: exactly(0), flags: [], run };

async function run({ engine }: Invocation): Promise<number> {
  const { endpoint } = await engine();
  const socket = await connect(endpoint);
  await using session = openSession(
    { socket, headers: new Map(), early: Buffer.alloc(0) },
    { hasInput: true, hasOutput: true, isTty: false, isFramed: false, detachKeys: "" },
  );
  if ((await session.ended) === "closed") return 0;
  throw new EngineError("internal", "dial-stdio ended without the engine");
}
