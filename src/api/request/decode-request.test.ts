import { describe, expect, test } from "bun:test";
import { EngineError } from "../../lib/errors.ts";
import {
  decodeNetworkConnect,
  decodeNetworkCreate,
  decodeNetworkDisconnect,
} from "./decode-network.ts";
import {
  checkJsonContentType,
  decodeAuth,
  decodeAuthHeader,
  decodeExecCreate,
  decodeExecStart,
  decodeVolumeCreate,
} from "./decode-request.ts";

const bytes = (body: string): Uint8Array => new TextEncoder().encode(body);
const none = new Uint8Array();

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof EngineError && error.kind === "invalid-argument") return error.message;
    throw error;
  }
  return "accepted";
}

test("bodies may be empty where Docker lets them be", () => {
  expect(decodeExecCreate(none)).toMatchObject({ Cmd: null, Tty: false, ConsoleSize: null });
  expect(decodeExecStart(none)).toEqual({ Detach: false, Tty: false, ConsoleSize: null });
  expect(decodeVolumeCreate(none)).toEqual({
    Name: "",
    Driver: "",
    DriverOpts: null,
    Labels: null,
  });
  expect(decodeNetworkCreate(none)).toMatchObject({ Name: "", IPAM: null, EnableIPv4: null });
  expect(decodeNetworkConnect(none)).toEqual({ Container: "", EndpointConfig: null });
  expect(decodeNetworkDisconnect(none)).toEqual({ Container: "", Force: false });
  expect(refusal(() => decodeAuth(none))).toContain("got EOF");
});

test("each body names its own type when it is something else", () => {
  const array = bytes("[]");
  const into = (type: string): string =>
    `invalid JSON: json: cannot unmarshal array into Go value of type ${type}`;
  expect(refusal(() => decodeExecCreate(array))).toBe(into("container.ExecOptions"));
  expect(refusal(() => decodeExecStart(array))).toBe(into("container.ExecStartOptions"));
  expect(refusal(() => decodeVolumeCreate(array))).toBe(into("volume.CreateOptions"));
  expect(refusal(() => decodeNetworkCreate(array))).toBe(into("network.CreateRequest"));
  expect(refusal(() => decodeNetworkConnect(array))).toBe(into("network.ConnectOptions"));
  expect(refusal(() => decodeAuth(array))).toBe(into("registry.AuthConfig"));
});

test("decodeExecCreate() reads what the docker command line sends", () => {
  const body = '{"User":"","Privileged":false,"Tty":true,"AttachStdin":true,"ConsoleSize":[24,80],';
  expect(decodeExecCreate(bytes(`${body}"Cmd":["sh"],"Env":["A=b"]}`))).toMatchObject({
    Tty: true,
    AttachStdin: true,
    ConsoleSize: [24, 80],
    Cmd: ["sh"],
    Env: ["A=b"],
  });
});

test("decodeVolumeCreate() keeps a cluster specification for a refusal by name", () => {
  expect(
    decodeVolumeCreate(bytes('{"ClusterVolumeSpec":{"Group":"g"}}')).ClusterVolumeSpec,
  ).toEqual({ Group: "g" });
});

test("decodeNetworkCreate() reads address pools", () => {
  const body = '{"Name":"n","IPAM":{"Config":[{"Subnet":"10.0.0.0/8","AuxiliaryAddresses":{}}]}}';
  expect(decodeNetworkCreate(bytes(body)).IPAM).toEqual({
    Driver: "",
    Options: null,
    Config: [{ Subnet: "10.0.0.0/8" }],
  });
});

describe("X-Registry-Auth", () => {
  test("is base64url of JSON, or nothing", () => {
    expect(decodeAuthHeader(undefined)).toBeUndefined();
    expect(decodeAuthHeader("")).toBeUndefined();
    const header = Buffer.from('{"username":"ü","password":"p?>"}').toString("base64url");
    expect(decodeAuthHeader(header)).toEqual({ username: "ü", password: "p?>" });
    expect(decodeAuthHeader(Buffer.from("{}").toString("base64"))).toEqual({});
  });
  test.each(["{}", "a b", "****"])("%p is refused", (header) => {
    expect(refusal(() => decodeAuthHeader(header))).toContain("not base64");
  });
});

describe("checkJsonContentType()", () => {
  test.each([
    "application/json",
    "Application/JSON",
    "application/json; charset=utf-8",
    'application/json;charset="utf-8"',
    "application/json;",
  ])("%p is accepted", (header) => {
    expect(() => checkJsonContentType(header, { hasBody: true })).not.toThrow();
  });
  test("no header is accepted without a body", () => {
    expect(() => checkJsonContentType(undefined, { hasBody: false })).not.toThrow();
  });
  // Docker 28.5's sentences
  test.each([
    [undefined, "malformed Content-Type header (): mime: no media type"],
    ["text/plain", "unsupported Content-Type header (text/plain): must be 'application/json'"],
    [
      "application/json;;;=",
      "malformed Content-Type header (application/json;;;=): mime: invalid media parameter",
    ],
    [
      "application/x-tar",
      "unsupported Content-Type header (application/x-tar): must be 'application/json'",
    ],
    ["a b", "malformed Content-Type header (a b): mime: unexpected content after media type"],
  ])("%p is refused", (header, message) => {
    expect(refusal(() => checkJsonContentType(header, { hasBody: true }))).toBe(message);
  });
});
