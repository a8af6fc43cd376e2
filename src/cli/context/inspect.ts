import { atLeast, type Command, type Invocation } from "../command.ts";
import { currentContextName } from "../environment.ts";
import { inspectFormatFlag } from "../flag/flags.ts";
import { inspectAll } from "../inspect.ts";
import { type Context, getContext, tlsFileNames } from "./store.ts";

/** Shows all of contexts; the current one when none is named. */
export const command: Command = {
  usage: "[OPTIONS] [CONTEXT] [CONTEXT...]",
  operands: atLeast(0),
  flags: [inspectFormatFlag],
  completes: "contexts",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { operands, environment } = invocation;
  const names = operands.length === 0 ? [await currentContextName(environment)] : operands;
  return inspectAll({ ...invocation, operands: names }, (name) =>
    Promise.resolve(JSON.stringify(describe(getContext(environment, name)))),
  );
}

function describe(context: Context): unknown {
  const tls = tlsFileNames(context);
  const { folders } = context;
  return {
    Name: context.name,
    Metadata: {
      ...context.metadata,
      ...(folders !== undefined && context.description !== ""
        ? { Description: context.description }
        : {}),
    },
    Endpoints: { docker: { Host: context.host, SkipTLSVerify: context.skipsTlsVerify } },
    TLSMaterial: tls.length === 0 ? {} : { docker: tls },
    Storage: {
      MetadataPath: folders?.meta ?? "<IN MEMORY>",
      TLSPath: folders?.tls ?? "<IN MEMORY>",
    },
  };
}
