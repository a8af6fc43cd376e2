/** The command line and an engine on TCP, with certificates: who comes in, and what is said to the rest. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { makeCertificates } from "../support/certificates.ts";
import { type Client, type ClientName, clientNames, openClient } from "../support/clients.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { referenceHost, uniqueName } from "../support/engine.ts";

const hasOpenssl = Bun.which("openssl") !== null;
if (!hasOpenssl) console.warn("skipped: there is no openssl to make certificates with");
const folder = mkdtempSync("/tmp/tugtls-");
const portFirst = 24_000 + (process.pid % 800) * 4;
const file = (name: string): string => join(folder, name);
/** Engines by the name of their certificate, each on a port of its own. */
const ports = { server: portFirst, elsewhere: portFirst + 1, stale: portFirst + 2 } as const;
type EngineName = keyof typeof ports;
const daemons: TestDaemon[] = [];

/** As `--tlsverify` and its kin. */
function flags(client: string | undefined, ca = "ca"): readonly string[] {
  const own = ["--tlscert", file(`${client}.pem`), "--tlskey", file(`${client}.key`)];
  return ["--tlsverify", "--tlscacert", file(`${ca}.pem`), ...(client === undefined ? [] : own)];
}

/** A folder for DOCKER_CERT_PATH. */
function certificateFolder(files: Readonly<Record<string, string>>): string {
  const made = file(uniqueName("certs"));
  mkdirSync(made);
  for (const [name, from] of Object.entries(files)) copyFileSync(file(from), join(made, name));
  return made;
}

function clientOf(name: ClientName, host: string): Client {
  const home = file(uniqueName("home"));
  mkdirSync(join(home, "client"), { recursive: true });
  return openClient(name, { host, home });
}

const toEngine = (name: ClientName, engine: EngineName = "server"): Client =>
  clientOf(name, `tcp://127.0.0.1:${ports[engine]}`);

describe.skipIf(!hasOpenssl || referenceHost !== undefined)("an engine with certificates", () => {
  beforeAll(async () => {
    await makeCertificates(folder, {
      ca: {},
      other: {},
      server: { signer: "ca", extension: "subjectAltName=IP:127.0.0.1,DNS:localhost" },
      elsewhere: { signer: "ca", extension: "subjectAltName=DNS:elsewhere.test" },
      stale: { signer: "ca", extension: "subjectAltName=IP:127.0.0.1", days: -1 },
      client: { signer: "ca", extension: "extendedKeyUsage=clientAuth" },
      stranger: { signer: "other", extension: "extendedKeyUsage=clientAuth" },
      expired: { signer: "ca", extension: "extendedKeyUsage=clientAuth", days: -1 },
    });
    writeFileSync(file("garbage.pem"), "no certificate\n");
    for (const [name, port] of Object.entries(ports)) {
      const own = ["--tlscert", file(`${name}.pem`), "--tlskey", file(`${name}.key`)];
      const host = ["-H", `tcp://127.0.0.1:${port}`, "--tlsverify", "--tlscacert", file("ca.pem")];
      daemons.push(await startDaemon({ flags: [...host, ...own] }));
    }
    await daemons[0]?.engine.ensureImages("busybox");
  });
  afterAll(async () => {
    for (const daemon of daemons) await daemon[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });

  describe.each(clientNames)("and %s", (name) => {
    /** Every kind of exchange: a question, a stream, an upload, a connection that is taken over. */
    const everything = async (cli: Client, ...given: readonly string[]): Promise<void> => {
      expect(await cli.ok(...given, "images", "-q", "busybox")).toMatch(/^[0-9a-f]{12}$/);
      const quiet = ["run", "-i", "--rm", "--network", "none", "busybox"];
      const piped = await cli.run([...given, ...quiet, "cat"], { input: "through TLS\n" });
      expect(piped).toMatchObject({ exitCode: 0, stdout: "through TLS\n" });
      const image = uniqueName("tls");
      const built = await cli.run([...given, "build", "-t", image, "-"], {
        input: "FROM busybox\nRUN echo built >/f\n",
        env: { DOCKER_BUILDKIT: "0" },
      });
      expect(built).toMatchObject({ exitCode: 0 });
      const archive = file(`${image}.tar`);
      await cli.ok(...given, "save", "-o", archive, image);
      await cli.ok(...given, "rmi", image);
      expect(await cli.ok(...given, "load", "-i", archive)).toContain(image);
    };

    test("the client's certificate by flags: all goes", async () => {
      await everything(toEngine(name), ...flags("client"));
    });

    test("by DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, and by the name localhost", async () => {
      const path = { "ca.pem": "ca.pem", "cert.pem": "client.pem", "key.pem": "client.key" };
      const env = { DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: certificateFolder(path) };
      for (const host of ["127.0.0.1", "localhost"]) {
        const cli = clientOf(name, `tcp://${host}:${ports.server}`);
        expect(await cli.run(["ps", "-q"], { env })).toMatchObject({ exitCode: 0, stdout: "" });
      }
    });

    test("by the files beside config.json", async () => {
      const path = { "ca.pem": "ca.pem", "cert.pem": "client.pem", "key.pem": "client.key" };
      const env = { DOCKER_CONFIG: certificateFolder(path) };
      const result = await toEngine(name).run(["--tlsverify", "ps", "-q"], { env });
      expect(result).toMatchObject({ exitCode: 0, stdout: "" });
    });

    test("by a context", async () => {
      const cli = clientOf(name, "");
      const host = `host=tcp://127.0.0.1:${ports.server}`;
      const own = `cert=${file("client.pem")},key=${file("client.key")}`;
      await cli.ok("context", "create", "far", "--docker", `${host},ca=${file("ca.pem")},${own}`);
      await everything(cli, "--context", "far");
      await cli.ok(
        "context",
        "create",
        "stray",
        "--docker",
        `${host},ca=${file("other.pem")},${own}`,
      );
      expect(await cli.fails("-c", "stray", "ps")).toMatch(
        /unknown authority|not signed by the CA/,
      );
      // Without verification anything that speaks TLS will do.
      const blind = `${host},ca=${file("other.pem")},${own},skip-tls-verify=true`;
      await cli.ok("context", "create", "blind", "--docker", blind);
      expect(await cli.ok("-c", "blind", "ps", "-q")).toBe("");
      await cli.ok("context", "create", "bare", "--docker", `${host},skip-tls-verify=true`);
      expect(await cli.fails("-c", "bare", "ps")).toMatch(
        /certificate required|none was given \(--tlscert and --tlskey/,
      );
    });

    /** What each is told that does not come in: docker in Go's words, tug with what to do. */
    test.each<
      readonly [
        what: string,
        EngineName,
        args: () => readonly string[],
        docker: RegExp,
        tug: RegExp,
      ]
    >([
      [
        ...(["no certificate", "server"] as const),
        () => flags(undefined),
        /certificate required/,
        /may ask for a client certificate, and none was given \(--tlscert and --tlskey/,
      ],
      [
        ...(["one of another CA", "server"] as const),
        () => flags("stranger"),
        /certificate required|reset|EOF|broken pipe/,
        /may not take the client certificate, which is signed by "CN=other"/,
      ],
      [
        ...(["one that has expired", "server"] as const),
        () => flags("expired"),
        /certificate|reset|EOF|broken pipe/,
        /the client certificate expired on \d{4}-\d\d-\d\d: have a new one made/,
      ],
      [
        ...(["one with the key of another", "server"] as const),
        () => [...flags("client").slice(0, -1), file("stranger.key")],
        /private key does not match public key/,
        /the client key \(--tlskey, key.pem\) is not that of the client certificate/,
      ],
      [
        ...(["a certificate that is none", "server"] as const),
        () =>
          ["--tlsverify", "--tlscacert", file("ca.pem"), "--tlscert", file("garbage.pem")].concat(
            "--tlskey",
            file("client.key"),
          ),
        /failed to find any PEM data/,
        /the client certificate \(--tlscert, cert.pem\) is no certificate in PEM form/,
      ],
      [
        ...(["trust in another CA", "server"] as const),
        () => flags("client", "other"),
        /signed by unknown authority/,
        /engine's certificate is not signed by the CA that is trusted here: give the CA/,
      ],
      [
        ...(["a CA that is none", "server"] as const),
        () => flags("client", "garbage"),
        /seems invalid/,
        /the CA certificate \(--tlscacert, ca.pem\) is no certificate in PEM form/,
      ],
      [
        ...(["a CA that is not there", "server"] as const),
        () => flags("client", "nowhere"),
        /nowhere.pem: no such file or directory/,
        /read TLS file ".*nowhere.pem": ENOENT/,
      ],
      [
        ...(["no CA at all", "server"] as const),
        () => flags("client").filter((word) => !/tlscacert|\/ca\.pem$/.test(word)),
        /client\/ca.pem: no such file or directory/,
        /client\/ca.pem: no such file or directory: give the engine's CA by --tlscacert/,
      ],
      [
        ...(["an engine of another name", "elsewhere"] as const),
        () => flags("client"),
        /cannot validate certificate for 127.0.0.1/,
        /engine's certificate is not for "127.0.0.1": connect by a name that it has/,
      ],
      [
        ...(["an engine whose certificate has expired", "stale"] as const),
        () => flags("client"),
        /certificate has expired/,
        /engine's certificate has expired: have it renewed/,
      ],
      [
        ...(["no TLS", "server"] as const),
        () => [],
        /EOF|reset|HTTP request to an HTTPS server/,
        /hung up without an answer: if it asks for TLS, use --tlsverify or DOCKER_TLS_VERIFY=1/,
      ],
    ])("%s: nothing goes, and it is said why", async (_, engine, args, docker, tug) => {
      const archive = file("nothing.tar");
      writeFileSync(archive, "");
      for (const command of [["ps"], ["events"], ["load", "-i", archive], ["attach", "x"]]) {
        const result = await toEngine(name, engine).run([...args(), ...command]);
        expect(result.exitCode).not.toBe(0);
        expect(result.stdout).toBe("");
        expect(result.stderr).toMatch(name === "docker" ? docker : tug);
      }
    });

    test("TLS to what has none is told so", async () => {
      const plain = createServer((socket) => {
        socket.on("error", () => undefined);
        socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
      });
      await new Promise<void>((resolve) => plain.listen(portFirst + 3, "127.0.0.1", resolve));
      const cli = clientOf(name, `tcp://127.0.0.1:${portFirst + 3}`);
      expect(await cli.fails(...flags("client"), "ps")).toMatch(
        name === "docker" ? /HTTP response to HTTPS client/ : /not speak TLS on this port/,
      );
      plain.close();
    });
  });

  test("who says nothing, or nonsense, is hung up on, and the engine goes on", async () => {
    const hello = Buffer.from("160301020001", "hex");
    const texts = ["", "GET / HTTP/1.1\r\n\r\n", hello, Buffer.alloc(300, 0xff)];
    const closed = texts.map(async (text) => {
      const socket = connect({ port: ports.server, host: "127.0.0.1" });
      socket.on("error", () => undefined).resume();
      socket.once("connect", () => socket.write(text));
      await new Promise<void>((resolve) => socket.once("close", () => resolve()));
    });
    await toEngine("tug").ok(...flags("client"), "ps");
    await Promise.all(closed);
    await toEngine("tug").ok(...flags("client"), "ps");
  }, 30_000);
});
