import { EngineError } from "../../lib/errors.ts";

const portMax = 65_535;

/**
 * Reads the words of EXPOSE: `80`, `80/udp`, `8000-8005/tcp`; sorted, what is said twice twice.
 *
 * @throws invalid-argument in the words of Docker's parser
 */
export function parseExposedPorts(words: readonly string[]): readonly string[] {
  return words.flatMap(parseWord).toSorted();
}

function parseWord(word: string): readonly string[] {
  const [range = "", protocol = "tcp", ...more] = word.split("/");
  // `host:container` is taken for what it says of the container.
  const container = range.slice(range.lastIndexOf(":") + 1);
  if (more.length > 0 || container === "") throw refused(word, "no port specified");
  const name = protocol.toLowerCase();
  if (!["tcp", "udp", "sctp"].includes(name)) throw refused(word, `invalid proto: ${name}`);
  const match = /^(\d+)(?:-(\d+))?$/.exec(container);
  const first = Number(match?.[1] ?? Number.NaN);
  const last = Number(match?.[2] ?? first);
  if (!(first <= portMax && last <= portMax && first <= last)) {
    throw new EngineError("invalid-argument", `invalid containerPort: ${container}`);
  }
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${name}`);
}

function refused(word: string, sentence: string): EngineError {
  return new EngineError("invalid-argument", `invalid port: ${JSON.stringify(word)}: ${sentence}`);
}
