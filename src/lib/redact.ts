/** What stands in for a secret, as Go's url.Redacted writes it. */
export const redacted = "xxxxx";

const secretHeaders: ReadonlySet<string> = new Set([
  "authorization",
  "proxy-authorization",
  "cookie",
  "set-cookie",
  "x-registry-auth",
  "x-registry-config",
]);

const userInfo = /([a-z][a-z0-9+.-]*:\/\/)([^\s/?#@]*(?:@[^\s/?#@]*)*)@/gi;
const secretParameter =
  /([?&;](?:access_token|refresh_token|id_token|token|password|passwd|secret|client_secret|api_key|apikey|key|sig|signature|x-amz-signature|x-amz-security-token|x-amz-credential|x-goog-signature)=)[^&;#\s"']*/gi;
const credentials = /\b(basic|bearer)\s+[a-z0-9+/=._~-]{6,}/gi;

/**
 * Hides credentials in any text that may hold URLs or authorisation values.
 *
 * The user of a URL stays when it has a password beside it; a lone user is taken for a token.
 */
export function redactText(text: string): string {
  return text
    .replace(userInfo, (_match, scheme: string, info: string) => {
      const colon = info.indexOf(":");
      return colon < 0 ? `${scheme}${redacted}@` : `${scheme}${info.slice(0, colon)}:${redacted}@`;
    })
    .replace(secretParameter, `$1${redacted}`)
    .replace(credentials, `$1 ${redacted}`);
}

/** Copies headers with the values of those that carry credentials hidden. */
export function redactHeaders(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
): Record<string, string> {
  const safe: [string, string][] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue;
    const text = typeof value === "string" ? value : value.join(", ");
    safe.push([name, secretHeaders.has(name.toLowerCase()) ? redacted : redactText(text)]);
  }
  return Object.fromEntries(safe);
}
