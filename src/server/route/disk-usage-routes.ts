import { diskUsageTypes, type DiskUsageType } from "../../api/system.ts";
import { textValues } from "../../api/request/query.ts";
import { compareVersions } from "../../api/versions.ts";
import { EngineError } from "../../lib/errors.ts";
import { type Exchange, type Handler, sendJson } from "../exchange.ts";

/** Since then a kind of objects can be asked for, and the cache's size is the caller's sum. */
const typesSince = "1.42";

/** Handlers of `system df`, by operation name. */
export const diskUsageRoutes: Readonly<Record<string, Handler>> = {
  SystemDataUsage: async (exchange) => {
    const usage = await exchange.backend.system.diskUsage(typesOf(exchange));
    if (compareVersions(exchange.version, typesSince) >= 0) {
      sendJson(exchange, usage);
      return;
    }
    const cache = usage.BuildCache ?? [];
    const BuilderSize = cache.reduce((sum, record) => sum + record.Size, 0);
    // Docker: leaves the sum out where there is no cache, seen in 28.5
    sendJson(exchange, BuilderSize === 0 ? usage : { ...usage, BuilderSize });
  },
};

/** @throws invalid-argument in Docker's words */
function typesOf(exchange: Exchange): ReadonlySet<DiskUsageType> {
  const asked = textValues(exchange.query, "type");
  const isChosen = asked.length > 0 && compareVersions(exchange.version, typesSince) >= 0;
  if (!isChosen) return new Set(diskUsageTypes);
  return new Set(
    asked.map((text) => {
      const type = diskUsageTypes.find((one) => one === text);
      if (type === undefined) {
        throw new EngineError("invalid-argument", `unknown object type: ${text}`);
      }
      return type;
    }),
  );
}
