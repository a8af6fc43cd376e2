/** Connections: TLS with certificates of both sides, proxies, reuse. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { type Certificates, makeCertificates } from "../../../test/support/docker-registry.ts";
import { startFaultRegistry } from "../../../test/support/fault-registry.ts";
import { until } from "../../../test/support/process.ts";
import { defaultLimits } from "./limits.ts";
import { readHostTrust } from "./certificates.ts";
import { openTransport } from "./http-transport.ts";
import { type HttpAnswer, readAnswer, type Route } from "./transport.ts";

let folder: string;
let certificates: Certificates;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tug-transport-"));
  certificates = await makeCertificates(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const limits = { ...defaultLimits, connectMs: 500, answerMs: 1_000, stallMs: 300 };
const textOf = async (answer: HttpAnswer): Promise<string> =>
  Buffer.from(await readAnswer(answer, { sizeMaxBytes: 1_000, what: "test" })).toString();

async function listen(server: Server): Promise<{ readonly port: number } & AsyncDisposable> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}

/** A TLS server that answers with the name in the client's certificate. */
async function listenTls(
  more: { readonly rejectUnauthorized?: boolean } = {},
): Promise<{ readonly port: number } & AsyncDisposable> {
  const read = (path: string): string => readFileSync(path, "utf8");
  const options = {
    cert: read(certificates.certificatePath),
    key: read(certificates.keyPath),
    ca: read(certificates.caPath),
    requestCert: true,
    rejectUnauthorized: false,
    ...more,
  };
  const server = createTlsServer(options, (socket: TLSSocket) => {
    socket.on("error", () => undefined);
    socket.on("data", () => {
      const name = socket.authorized ? String(socket.getPeerCertificate().subject.CN) : "nobody";
      const head = `HTTP/1.1 200 OK\r\nContent-Length: ${name.length}\r\nConnection: close\r\n\r\n`;
      socket.end(`${head}${name}`);
    });
  });
  return await listen(server);
}

function certsDir(host: string, files: Readonly<Record<string, string>>): string {
  const dir = mkdtempSync(join(folder, "certs-"));
  mkdirSync(join(dir, host));
  for (const [name, source] of Object.entries(files)) copyFileSync(source, join(dir, host, name));
  return dir;
}

const send = async (url: string, route: Route): Promise<string> => {
  const transport = openTransport({ limits, routeTo: async () => route });
  try {
    return await textOf(await transport.send({ method: "GET", url: new URL(url), headers: {} }));
  } finally {
    transport.close();
  }
};

describe("TLS", () => {
  test("shows a client's certificate where there is one for the host", async () => {
    await using server = await listenTls();
    const host = `127.0.0.1:${server.port}`;
    const both = certsDir(host, {
      "ca.crt": certificates.caPath,
      "me.cert": certificates.certificatePath,
      "me.key": certificates.keyPath,
    });
    const mine = readHostTrust([both], host);
    expect(mine.isConfigured).toBe(true);
    expect(await send(`https://${host}/`, { isVerified: true, trust: mine })).toBe("localhost");
    const authority = readHostTrust([certsDir(host, { "ca.crt": certificates.caPath })], host);
    expect(await send(`https://${host}/`, { isVerified: true, trust: authority })).toBe("nobody");
  });

  test("refuses a certificate nobody signed, unless it may be so", async () => {
    await using server = await listenTls();
    const url = `https://127.0.0.1:${server.port}/`;
    const trust = readHostTrust([], "x");
    await expect(send(url, { isVerified: true, trust })).rejects.toThrow(
      `Get "${url}": tls: failed to verify certificate: x509: certificate signed by unknown authority`,
    );
    expect(await send(url, { isVerified: false, trust })).toBe("nobody");
  });

  test("with a server that wants a certificate of this side is told as Go tells it", async () => {
    await using server = await listenTls({ rejectUnauthorized: true });
    const url = `https://127.0.0.1:${server.port}/`;
    await expect(send(url, { isVerified: false })).rejects.toThrow(
      `Get "${url}": remote error: tls: certificate required`,
    );
  });

  test("with a server that has none is told as Go tells it", async () => {
    await using registry = await startFaultRegistry(() => undefined);
    const url = `https://${registry.host}/`;
    await expect(send(url, { isVerified: false })).rejects.toThrow(
      `Get "${url}": http: server gave HTTP response to HTTPS client`,
    );
  });
});

describe("certificates of a host", () => {
  test("half a pair is refused in Docker's words", () => {
    const host = "h:5000";
    const cert = certsDir(host, { "me.cert": certificates.certificatePath });
    expect(() => readHostTrust([cert], host)).toThrow(
      "missing key me.key for client certificate me.cert. CA certificates must use the extension .crt",
    );
    const key = certsDir(host, { "me.key": certificates.keyPath });
    expect(() => readHostTrust([key], host)).toThrow(
      "missing client certificate me.cert for key me.key",
    );
  });

  test("that cannot be read are named; a .crt that is none is passed over", () => {
    const host = "h:5000";
    const dir = certsDir(host, { "a.crt": certificates.caPath });
    const at = (name: string): string => join(dir, host, name);
    const known = readHostTrust([dir], host).ca.length;
    writeFileSync(at("junk.crt"), "junk");
    writeFileSync(at("empty.crt"), "");
    writeFileSync(
      at("broken.crt"),
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    expect(readHostTrust([dir], host).ca).toHaveLength(known);
    symlinkSync("/nonexistent/ca.pem", at("gone.crt"));
    expect(() => readHostTrust([dir], host)).toThrow(/^read a registry's certificate: .*gone\.crt/);
    rmSync(at("gone.crt"));
    mkdirSync(at("folder.crt"));
    expect(() => readHostTrust([dir], host)).toThrow(/^read a registry's certificate: /);
  });

  test("of this side that do not belong together are refused", () => {
    const dir = certsDir("h", {
      "me.cert": certificates.caPath,
      "me.key": certificates.keyPath,
    });
    expect(() => readHostTrust([dir], "h")).toThrow(
      "client certificate me.cert with me.key: tls: private key does not match public key",
    );
  });

  test("are those of the first folder that has the host; a host is no path", () => {
    const first = certsDir("h", { "a.crt": certificates.caPath });
    const second = certsDir("h", {});
    writeFileSync(join(second, "h", "notes.txt"), "x");
    const plain = readHostTrust([], "h");
    expect(readHostTrust(["/nonexistent", first, second], "h").ca).toHaveLength(
      plain.ca.length + 1,
    );
    expect(readHostTrust([second, first], "h").isConfigured).toBe(false);
    for (const host of ["..", "../x", "a/b", "", "."]) {
      expect(readHostTrust([join(first, "h")], host).isConfigured).toBe(false);
    }
  });
});

describe("a proxy", () => {
  /** Remembers what it was asked, and does it. */
  async function listenProxy(
    status = 200,
  ): Promise<{ readonly port: number; readonly asked: string[] } & AsyncDisposable> {
    const asked: string[] = [];
    const note = (message: IncomingMessage): void => {
      const user = message.headers["proxy-authorization"] ?? "nobody";
      asked.push(`${message.method} ${message.url} ${user}`);
    };
    const server = createServer((message, response) => {
      note(message);
      response.end("proxied");
    });
    server.on("connect", (message: IncomingMessage, socket) => {
      note(message);
      if (status !== 200) {
        socket.end(`HTTP/1.1 ${status} Proxy Authentication Required\r\n\r\n`);
        return;
      }
      const upstream = connect(Number(message.url?.split(":").at(-1)), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        socket.pipe(upstream);
        upstream.pipe(socket);
      });
      for (const end of [socket, upstream]) end.on("error", () => end.destroy());
    });
    const listening = await listen(server);
    return { ...listening, asked, [Symbol.asyncDispose]: async () => void server.close() };
  }

  test("without TLS is asked for the whole URL, with its own user", async () => {
    await using proxy = await listenProxy();
    const route = { isVerified: false, proxy: new URL(`http://ann:pw@127.0.0.1:${proxy.port}`) };
    expect(await send("http://registry.example:5000/v2/?a=b", route)).toBe("proxied");
    expect(proxy.asked).toEqual([
      `GET http://registry.example:5000/v2/?a=b Basic ${btoa("ann:pw")}`,
    ]);
  });

  test("with TLS gives a tunnel, in which the host is verified", async () => {
    await using server = await listenTls();
    await using proxy = await listenProxy();
    const host = `localhost:${server.port}`;
    const trust = readHostTrust([certsDir(host, { "ca.crt": certificates.caPath })], host);
    const proxyUrl = new URL(`http://127.0.0.1:${proxy.port}`);
    const url = `https://${host}/v2/`;
    expect(await send(url, { trust, isVerified: true, proxy: proxyUrl })).toBe("nobody");
    expect(proxy.asked).toEqual([`CONNECT ${host} nobody`]);
    const none = readHostTrust([], host);
    await expect(send(url, { trust: none, isVerified: true, proxy: proxyUrl })).rejects.toThrow(
      "certificate signed by unknown authority",
    );
  });

  test("that refuses, or is not there, is told", async () => {
    await using proxy = await listenProxy(407);
    const refusing = { isVerified: true, proxy: new URL(`http://127.0.0.1:${proxy.port}`) };
    await expect(send("https://registry.example/", refusing)).rejects.toThrow(
      'Get "https://registry.example/": Proxy Authentication Required',
    );
    const absent = { isVerified: true, proxy: new URL("http://127.0.0.1:1") };
    for (const url of ["https://registry.example/", "http://registry.example:5000/"]) {
      await expect(send(url, absent)).rejects.toThrow(
        `Get "${url}": proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused`,
      );
    }
  });
});

describe("connections", () => {
  test("are used again, and replaced when the server has closed them meanwhile", async () => {
    let connectionCount = 0;
    const server = createServer((_message, response) => void response.end("ok"));
    server.on("connection", () => {
      connectionCount += 1;
    });
    await using listening = await listen(server);
    const transport = openTransport({ limits, routeTo: async () => ({ isVerified: false }) });
    const url = new URL(`http://127.0.0.1:${listening.port}/`);
    const get = async (): Promise<string> =>
      await textOf(await transport.send({ method: "GET", url, headers: {} }));
    expect([await get(), await get()]).toEqual(["ok", "ok"]);
    expect(connectionCount).toBe(1);
    server.closeAllConnections();
    expect(await get()).toBe("ok");
    expect(connectionCount).toBe(2);
    transport.close();
  });

  test("that the server gives up as a manifest comes are replaced, too; a piece is not sent twice", async () => {
    const told: string[] = [];
    const firsts = new WeakSet<object>();
    const server = createServer((message, response) => {
      told.push(message.method ?? "");
      // A server that ends a connection after its first answer, just as the next request comes.
      if (firsts.has(message.socket)) return void message.socket.resetAndDestroy();
      firsts.add(message.socket);
      message.resume().on("end", () => response.end("ok"));
    });
    await using listening = await listen(server);
    const transport = openTransport({ limits, routeTo: async () => ({ isVerified: false }) });
    const url = new URL(`http://127.0.0.1:${listening.port}/`);
    const bytes = Buffer.from("manifest");
    const body = { sizeBytes: bytes.byteLength, open: () => [bytes] };
    const ask = async (method: string): Promise<string> =>
      await textOf(
        await transport.send({ method, url, headers: {}, ...(method === "GET" ? {} : { body }) }),
      );
    expect([await ask("GET"), await ask("PUT")]).toEqual(["ok", "ok"]);
    expect(told).toEqual(["GET", "PUT", "PUT"]);
    await ask("GET");
    await expect(ask("PATCH")).rejects.toMatchObject({ kind: "unavailable" });
    expect(told.filter((method) => method === "PATCH")).toHaveLength(1);
    transport.close();
  });

  test("are not kept when an answer came before the body was sent", async () => {
    let openCount = 0;
    const server = createServer((_message, response) => void response.end("early"));
    server.on("connection", (socket) => {
      openCount += 1;
      socket.on("close", () => {
        openCount -= 1;
      });
    });
    await using listening = await listen(server);
    const transport = openTransport({ limits, routeTo: async () => ({ isVerified: false }) });
    async function* slow(): AsyncGenerator<Uint8Array> {
      for (let count = 0; count < 100; count += 1) {
        yield new Uint8Array(1_000);
        await Bun.sleep(5);
      }
    }
    const answer = await transport.send({
      method: "PUT",
      url: new URL(`http://127.0.0.1:${listening.port}/`),
      headers: {},
      body: { sizeBytes: 100_000, open: slow },
    });
    expect(await textOf(answer)).toBe("early");
    await until(
      () => openCount === 0,
      () => "the connection to end",
    );
    transport.close();
  });

  test("are bounded in what they read of a head", async () => {
    const headers = Object.fromEntries(
      Array.from({ length: 200 }, (_, index) => [`x-${index}`, "y".repeat(1_000)]),
    );
    await using registry = await startFaultRegistry(() => ({ headers }));
    await expect(send(registry.url, { isVerified: false })).rejects.toThrow(
      "server response headers are too long",
    );
  });
});
