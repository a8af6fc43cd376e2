import { codeOf, EngineError, messageOf } from "../../lib/errors.ts";
import { redactText } from "../../lib/redact.ts";
import { toReadableStream, withProgress } from "../../lib/stream-limit.ts";
import type { Progress } from "../image-service.ts";
import { LayerReport } from "../distribution/layer-report.ts";

/**
 * Opens an archive that is somewhere else, for an import.
 *
 * @param url http or https; a bare `host/path` is http, as with Docker
 * @throws invalid-argument for other URLs, unavailable when nobody answers, not-found for 404
 */
export async function openUrl(
  url: string,
  options: { readonly progress: Progress; readonly signal?: AbortSignal },
): Promise<ReadableStream<Uint8Array>> {
  const { progress, signal } = options;
  const target = parseUrl(url);
  const shown = redactText(target.href);
  const response = await get(target, { shown, ...(signal === undefined ? {} : { signal }) });
  const { body } = response;
  if (!response.ok || body === null) {
    await body?.cancel();
    throw new EngineError(
      response.status === 404 ? "not-found" : "unavailable",
      `failed to GET ${shown} with status ${response.status} ${response.statusText}`.trimEnd(),
    );
  }
  progress({ status: `Downloading from ${shown}` });
  const total = Number(response.headers.get("content-length") ?? 0);
  const report = new LayerReport("", ({ id: _id, ...message }) => progress(message));
  const tell = (current: number): void => report.bytes("Importing", { current, total });
  report.begin();
  return toReadableStream(withProgress(body as AsyncIterable<Uint8Array> & typeof body, tell));
}

function parseUrl(text: string): URL {
  const whole = text.includes("://") ? text : `http://${text}`;
  const url = URL.parse(whole);
  if (url === null || url.hostname === "") {
    throw new EngineError("invalid-argument", `Get ${JSON.stringify(whole)}: this is no URL`);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    const scheme = JSON.stringify(url.protocol.slice(0, -1));
    throw new EngineError(
      "invalid-argument",
      `Get ${JSON.stringify(redactText(url.href))}: unsupported protocol scheme ${scheme}`,
    );
  }
  return url;
}

async function get(
  url: URL,
  options: { readonly shown: string; readonly signal?: AbortSignal },
): Promise<Response> {
  const { shown, signal } = options;
  try {
    return await fetch(url, signal === undefined ? {} : { signal });
  } catch (error) {
    if (signal?.aborted === true) throw new EngineError("canceled", "the import was canceled");
    throw new EngineError(
      "unavailable",
      `Get ${JSON.stringify(shown)}: ${codeOf(error) ?? messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
}
