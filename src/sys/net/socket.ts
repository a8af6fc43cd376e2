/**
 * Sockets the runtime cannot make: in another network namespace, with a mode from the first
 * moment, as a bare descriptor.
 *
 * `net.createServer().listen({ fd })` adopts a stream socket made here.
 */
import { chmodSync, chownSync, closeSync, rmSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import { ipToBytes } from "./_ip.ts";
import { check, lazyLibc, translated } from "../libc.ts";

const libc = lazyLibc({
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  listen: { args: ["i32", "i32"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" },
});

const familyUnix = 1;
const familyIpv4 = 2;
const familyIpv6 = 10;
const typeStream = 1;
const typeDatagram = 2;
const nonblockCloseOnExec = 0o4000 | 0o2000000;
const solSocket = 1;
const soReuseAddress = 2;
const soPeerCredentials = 17;
const protocolIpv6 = 41;
const ipv6Only = 26;
// linux/sockios.h
const siocOutputQueue = 0x5411;
/** `sun_path` holds 108 bytes, its end included. */
const unixPathSizeMaxBytes = 107;
const backlogDefault = 4096;

/**
 * Listens on a unix socket file, non-blocking; a file in the way is replaced.
 *
 * The mode is the socket's before anyone can connect.
 */
export function listenUnixSocket(
  path: string,
  options: { readonly mode: number; readonly gid?: number },
): number {
  const what = `listen at ${JSON.stringify(path)}`;
  const name = Buffer.from(path);
  if (name.length > unixPathSizeMaxBytes) {
    throw new EngineError("invalid-argument", `${what}: longer than ${unixPathSizeMaxBytes} bytes`);
  }
  translated(what, () => rmSync(path, { force: true }));
  const address = Buffer.alloc(2 + name.length + 1);
  address.writeUInt16LE(familyUnix, 0);
  name.copy(address, 2);
  const fd = check(libc().socket(familyUnix, typeStream | nonblockCloseOnExec, 0), what);
  try {
    check(libc().bind(fd, address, address.length), what);
    translated(what, () => {
      if (options.gid !== undefined) chownSync(path, process.getuid?.() ?? 0, options.gid);
      chmodSync(path, options.mode);
    });
    // Until here connecting is refused.
    check(libc().listen(fd, backlogDefault), what);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Who connected a unix socket, as the kernel noted it then. */
export function peerCredentials(fd: number): {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
} {
  const credentials = new Int32Array(3);
  const size = new Uint32Array([credentials.byteLength]);
  const result = libc().getsockopt(fd, solSocket, soPeerCredentials, credentials, size);
  check(result, "read peer of socket");
  const [pid = 0, uid = 0, gid = 0] = credentials;
  return { pid, uid: uid >>> 0, gid: gid >>> 0 };
}

/** Where a socket is to be bound; port 0 lets the kernel choose. */
export interface BindOptions {
  /** An IP address, not a name. */
  readonly host: string;
  readonly port: number;
  readonly reuseAddress?: boolean;
  /** For `::`, whether IPv4 is left out; true when absent. */
  readonly v6Only?: boolean;
}

/** A bound socket; the caller closes the descriptor. */
export interface BoundSocket {
  readonly fd: number;
  readonly port: number;
}

/** Listens on TCP. @throws conflict with code EADDRINUSE when the port is taken */
export function listenTcpFd(options: BindOptions): BoundSocket {
  const bound = bindFd(typeStream, options);
  try {
    check(libc().listen(bound.fd, backlogDefault), `listen on ${shown(options)}`);
    return bound;
  } catch (error) {
    closeSync(bound.fd);
    throw error;
  }
}

/** Binds a UDP socket. @throws conflict with code EADDRINUSE when the port is taken */
export function bindUdpFd(options: BindOptions): BoundSocket {
  return bindFd(typeDatagram, options);
}

function bindFd(type: number, options: BindOptions): BoundSocket {
  const family = isIPv6(options.host) ? familyIpv6 : familyIpv4;
  const what = `bind ${shown(options)}`;
  const address = socketAddress(family, options);
  const fd = check(libc().socket(family, type | nonblockCloseOnExec, 0), what);
  try {
    // For UDP it would let two sockets share the port.
    if (options.reuseAddress === true) setOption(fd, solSocket, soReuseAddress);
    if (family === familyIpv6 && options.v6Only !== false) setOption(fd, protocolIpv6, ipv6Only);
    check(libc().bind(fd, address, address.length), what);
    return { fd, port: boundPort(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function setOption(fd: number, level: number, name: number): void {
  check(libc().setsockopt(fd, level, name, new Int32Array([1]), 4), "set socket option");
}

function boundPort(fd: number): number {
  const address = Buffer.alloc(28);
  check(libc().getsockname(fd, address, new Uint32Array([28])), "read socket address");
  return address.readUInt16BE(2);
}

function socketAddress(family: number, options: BindOptions): Buffer {
  const bytes = ipToBytes(options.host);
  const address = Buffer.alloc(family === familyIpv6 ? 28 : 16);
  address.writeUInt16LE(family, 0);
  address.writeUInt16BE(options.port, 2);
  // in6: flow information comes before the address.
  address.set(bytes, family === familyIpv6 ? 8 : 4);
  return address;
}

function shown(options: BindOptions): string {
  return isIPv6(options.host)
    ? `[${options.host}]:${options.port}`
    : `${options.host}:${options.port}`;
}

/** Told apart by the sign alone: `ipToBytes` refuses what is no address. */
function isIPv6(host: string): boolean {
  return host.includes(":");
}

/**
 * How much of what was written to a stream socket is still on its way: of a unix socket what the other
 * end has not read, of TCP what its kernel has not acknowledged. In bytes; the kernel's own may count.
 */
export function unreadBytes(fd: number): number {
  const count = new Int32Array(1);
  check(libc().ioctl(fd, siocOutputQueue, count), "read a socket's output queue");
  return count[0] ?? 0;
}
