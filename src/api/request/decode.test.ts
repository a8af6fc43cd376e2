import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { EngineError } from "../../lib/errors.ts";
import {
  bodyDepthMax,
  command,
  decodeBody,
  decodeJson,
  elementCountMax,
  flag,
  integer,
  list,
  map,
  omitEmpty,
  optional,
  pointer,
  struct,
  text,
  textLengthMax,
  textMap,
  textSet,
  texts,
} from "./decode.ts";

interface Sample {
  readonly Name: string;
  readonly Tty: boolean;
  readonly Size: number;
  readonly Env: readonly string[] | null;
  readonly Cmd: readonly string[] | null;
  readonly Labels: Readonly<Record<string, string>> | null;
  readonly Limit: number | null;
  readonly Init?: boolean;
  readonly Shell?: readonly string[];
  readonly Inner: { readonly Weight: number };
}

const decoder = struct<Sample>(
  {
    Name: text(),
    Tty: flag,
    Size: integer("int64"),
    Env: texts,
    Cmd: command,
    Labels: textMap,
    Limit: pointer(integer("int64")),
    Init: optional(flag),
    Shell: omitEmpty(texts),
    Inner: struct({ Weight: integer("uint16") }, "x.Inner"),
  },
  "x.Sample",
);

const zero: Sample = {
  Name: "",
  Tty: false,
  Size: 0,
  Env: null,
  Cmd: null,
  Labels: null,
  Limit: null,
  Inner: { Weight: 0 },
};

const bytes = (body: string): Uint8Array => new TextEncoder().encode(body);
const decode = (body: string): Sample => decodeBody(bytes(body), { goType: "x.Sample", decoder });

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof EngineError && error.kind === "invalid-argument") return error.message;
    throw error;
  }
  return "accepted";
}

describe("a decoded body", () => {
  const accepted: readonly (readonly [string, Partial<Sample>])[] = [
    ["", {}],
    ["null", {}],
    ["{}", {}],
    [" {} \n", {}],
    ['{"Unknown":[{"deep":1}],"Name":"a"}', { Name: "a" }],
    ['{"name":"a"}', { Name: "a" }],
    ['{"NAME":"a","name":"b"}', { Name: "b" }],
    ['{"Name":"a","Name":"b"}', { Name: "b" }],
    ['{"Name":null,"Tty":null,"Size":null,"Env":null,"Inner":null}', {}],
    ['{"Size":-1}', { Size: -1 }],
    ['{"Size":9007199254740991}', { Size: Number.MAX_SAFE_INTEGER }],
    ['{"Size":-0}', { Size: 0 }],
    ['{"Env":[]}', { Env: [] }],
    ['{"Env":["a",null]}', { Env: ["a", ""] }],
    ['{"Cmd":"a b"}', { Cmd: ["a b"] }],
    ['{"Cmd":["a","b"]}', { Cmd: ["a", "b"] }],
    ['{"Cmd":""}', { Cmd: [""] }],
    ['{"Labels":{"a":"b","c":null}}', { Labels: { a: "b", c: "" } }],
    ['{"Limit":0}', { Limit: 0 }],
    ['{"Init":false}', { Init: false }],
    ['{"Shell":[]}', {}],
    ['{"inner":{"WEIGHT":65535}}', { Inner: { Weight: 65535 } }],
    ['{"Name":"\\ud800"}', { Name: "\uFFFD" }],
  ];
  test.each(accepted)("%s is accepted", (body, fields) => {
    expect(decode(body)).toEqual({ ...zero, ...fields });
  });

  test("bad UTF-8 becomes replacement characters", () => {
    const body = Uint8Array.of(...bytes('{"Name":"'), 0xff, 0xfe, ...bytes('"}'));
    expect(decodeBody(body, { goType: "x.Sample", decoder }).Name).toBe("\uFFFD\uFFFD");
  });

  test("a field that may be left out is left out, not undefined", () => {
    expect(Object.keys(decode('{"Shell":null,"Init":null}'))).toEqual(Object.keys(zero));
  });

  test("keys of a map are only keys", () => {
    const labels = decode('{"Labels":{"__proto__":"a","constructor":"b"}}').Labels;
    expect(Object.entries(labels ?? {})).toEqual([
      ["__proto__", "a"],
      ["constructor", "b"],
    ]);
    expect(decode('{"Labels":{}}').Labels?.["toString"]).toBeUndefined();
    expect(decode('{"__proto__":{"Name":"a"}}')).toEqual(zero);
  });
});

describe("a refused body", () => {
  const go = "invalid JSON: json: cannot unmarshal";
  // The sentences without a path are Docker 28.5's.
  const refused: readonly (readonly [string, string])[] = [
    ["   ", "invalid JSON: got EOF while reading request body"],
    ["{", "invalid JSON: unexpected EOF"],
    ['{"Name":"a', "invalid JSON: unexpected EOF"],
    ["{x}", "invalid JSON: invalid character 'x' looking for beginning of object key string"],
    [
      '{"Name":"a",}',
      "invalid JSON: invalid character '}' looking for beginning of object key string",
    ],
    ['{"Name":nul}', "invalid JSON: invalid character '}' in literal null (expecting 'l')"],
    ['{"Name":01}', "invalid JSON: invalid character '1' after object key:value pair"],
    ['{"Name" 1}', "invalid JSON: invalid character '1' after object key"],
    ['{"Env":["a" "b"]}', "invalid JSON: invalid character '\"' after array element"],
    ['{"Name":"a\nb"}', "invalid JSON: invalid character '\\n' in string literal"],
    ['{"Name":"\\q"}', "invalid JSON: invalid character 'q' in string escape code"],
    [
      '{"Name":"\\u12x4"}',
      "invalid JSON: invalid character 'x' in \\u hexadecimal character escape",
    ],
    ['{"Size":-}', "invalid JSON: invalid character '}' in numeric literal"],
    ['{"Size":1.}', "invalid JSON: invalid character '}' after decimal point in numeric literal"],
    ['{"Size":1e}', "invalid JSON: invalid character '}' in exponent of numeric literal"],
    ["'a'", "invalid JSON: invalid character '\\'' looking for beginning of value"],
    ["\uFEFF{}", "invalid JSON: invalid character '\uFEFF' looking for beginning of value"],
    ["{} x", "unexpected content after JSON"],
    ["{}{}", "unexpected content after JSON"],
    ["[]", `${go} array into Go value of type x.Sample`],
    ['"x"', `${go} string into Go value of type x.Sample`],
    ["true", `${go} bool into Go value of type x.Sample`],
    ['{"Name":true}', `${go} bool into Go struct field Sample.Name of type string`],
    ['{"Tty":1}', `${go} number into Go struct field Sample.Tty of type bool`],
    ['{"Env":"x"}', `${go} string into Go struct field Sample.Env of type []string`],
    ['{"Env":[1]}', `${go} number into Go struct field Sample.Env.0 of type string`],
    ['{"Cmd":1}', `${go} number into Go value of type string`],
    ['{"Cmd":{}}', `${go} object into Go value of type string`],
    ['{"Cmd":[1]}', `${go} array into Go value of type string`],
    [
      '{"Labels":["x"]}',
      `${go} array into Go struct field Sample.Labels of type map[string]string`,
    ],
    ['{"Labels":{"a":1}}', `${go} number into Go struct field Sample.Labels.a of type string`],
    ['{"Size":"1"}', `${go} string into Go struct field Sample.Size of type int64`],
    ['{"Size":1.5}', `${go} number 1.5 into Go struct field Sample.Size of type int64`],
    ['{"Size":1e99}', `${go} number 1e+99 into Go struct field Sample.Size of type int64`],
    [
      '{"Size":9007199254740992}',
      `${go} number 9007199254740992 into Go struct field Sample.Size of type int64`,
    ],
    [
      '{"Inner":{"Weight":65536}}',
      `${go} number 65536 into Go struct field Sample.Inner.Weight of type uint16`,
    ],
    [
      '{"Inner":{"Weight":-1}}',
      `${go} number -1 into Go struct field Sample.Inner.Weight of type uint16`,
    ],
    ['{"Inner":[]}', `${go} array into Go struct field Sample.Inner of type x.Inner`],
  ];
  test.each(refused)("%s is refused", (body, message) => {
    expect(refusal(() => decode(body))).toBe(message);
  });

  test("sets take objects alone", () => {
    const set = textSet("nat.PortSet");
    const place = { root: "x.Sample", path: ".Ports" };
    expect(set({ "80/tcp": { any: 1 }, "81/tcp": null }, place)).toEqual({
      "80/tcp": {},
      "81/tcp": {},
    });
    expect(refusal(() => set({ "80/tcp": 1 }, place))).toContain("of type struct {}");
  });
});

describe("limits", () => {
  const place = { root: "x", path: ".F" };
  test("a body of the largest size is read, one byte more is refused", () => {
    expect(decodeJson(bytes('"1234"'), { sizeMaxBytes: 6 })).toBe("1234");
    expect(refusal(() => decodeJson(bytes('"12345"'), { sizeMaxBytes: 6 }))).toContain("larger");
  });
  test("the deepest nesting is read, one level more is refused", () => {
    const nested = (depth: number): Uint8Array => bytes("[".repeat(depth) + "]".repeat(depth));
    expect(decodeJson(nested(bodyDepthMax))).toBeArray();
    for (const depth of [bodyDepthMax + 1, 100_000]) {
      expect(refusal(() => decodeJson(nested(depth)))).toBe("invalid JSON: exceeded max depth");
    }
  });
  test("brackets in strings have no depth", () => {
    const value = `\\"${"[{".repeat(1000)}`;
    expect(decodeJson(bytes(`"${value}"`))).toBe(JSON.parse(`"${value}"`));
  });
  test("strings, arrays and maps are bounded", () => {
    expect(refusal(() => text()("x".repeat(textLengthMax + 1), place))).toContain("more than");
    const many = Array.from({ length: elementCountMax + 1 }, () => "");
    expect(refusal(() => list(text(), "[]string")(many, place))).toContain("more than");
    const entries = Object.fromEntries(many.map((_, index) => [`k${index}`, ""]));
    expect(refusal(() => map(text(), "map")(entries, place))).toContain("more than");
  });
  test("a message repeats only the beginning of a client's own key", () => {
    const message = refusal(() => decode(`{"Labels":{"${"k".repeat(9999)}":1}}`));
    expect(message.length).toBeLessThan(300);
  });
});

describe("fuzz: what any body does", () => {
  // Covers the decoder's totality and agreement with JSON.parse; not the meaning of values.
  test("any JSON value is decoded or refused as invalid-argument", () => {
    fc.assert(
      fc.property(fc.json(), (body) => {
        const message = refusal(() => decode(body));
        expect(message === "accepted" || message.startsWith("invalid JSON: ")).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
  test("damaged JSON is refused exactly when JSON.parse refuses it, with a reason", () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(), fc.string({ maxLength: 2 }), (body, at, noise) => {
        const split = at % (body.length + 1);
        const damaged = body.slice(0, split) + noise + body.slice(split + 1);
        fc.pre(damaged !== "");
        let isJson = true;
        try {
          JSON.parse(damaged);
        } catch {
          isJson = false;
        }
        const message = refusal(() => decodeJson(bytes(damaged)));
        expect(message === "accepted").toBe(isJson);
        expect(message).toMatch(/^(accepted|unexpected content after JSON|invalid JSON: .+)$/s);
      }),
      { numRuns: 1000 },
    );
  });
});
