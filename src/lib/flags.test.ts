import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { EngineError } from "./errors.ts";
import { type FlagDefinition, parseFlags } from "./flags.ts";

const flags: readonly FlagDefinition[] = [
  { name: "interactive", short: "i", kind: "switch", help: "" },
  { name: "tty", short: "t", kind: "switch", help: "" },
  { name: "publish", short: "p", kind: "list", help: "" },
  { name: "name", kind: "text", help: "" },
  { name: "tail", short: "n", kind: "number", help: "" },
  { name: "net", kind: "text", aliasOf: "name", help: "" },
];

const shown = (args: readonly string[], stopsAtOperand = false): unknown => {
  const parsed = parseFlags(args, flags, { stopsAtOperand });
  return [Object.fromEntries(parsed.switches), Object.fromEntries(parsed.values), parsed.operands];
};

describe("parseFlags()", () => {
  const accepted: readonly (readonly [string[], unknown])[] = [
    [
      ["-it", "img"],
      [{ interactive: true, tty: true }, {}, ["img"]],
    ],
    [
      ["-itp", "80:80"],
      [{ interactive: true, tty: true }, { publish: ["80:80"] }, []],
    ],
    [
      ["-p80", "-p=81", "--publish", "82", "--publish=83"],
      [{}, { publish: ["80", "81", "82", "83"] }, []],
    ],
    [
      ["--tty=false", "a", "-i"],
      [{ tty: false, interactive: true }, {}, ["a"]],
    ],
    [
      ["--", "-i"],
      [{}, {}, ["-i"]],
    ],
    [["-"], [{}, {}, ["-"]]],
    [
      ["--name", "--tty"],
      [{}, { name: ["--tty"] }, []],
    ],
    [
      ["--name=a", "--net=b"],
      [{}, { name: ["b"] }, []],
    ],
    [
      ["-n", "-5"],
      [{}, { tail: ["-5"] }, []],
    ],
  ];
  for (const [args, expected] of accepted) {
    test(`accepts ${args.join(" ")}`, () => expect(shown(args)).toEqual(expected));
  }

  test("stops at the first operand where asked", () => {
    expect(shown(["-i", "img", "-x", "--y"], true)).toEqual([
      { interactive: true },
      {},
      ["img", "-x", "--y"],
    ]);
  });

  const refused: readonly (readonly [string[], string])[] = [
    [["-itv"], "unknown shorthand flag: 'v' in -itv"],
    [["--volume"], "unknown flag: --volume"],
    [["--name"], "flag needs an argument: --name"],
    [["-p"], "flag needs an argument: 'p' in -p"],
    [
      ["--tty=perhaps"],
      'invalid argument "perhaps" for "-t, --tty" flag: strconv.ParseBool: parsing "perhaps": invalid syntax',
    ],
    [
      ["-n", "x"],
      'invalid argument "x" for "-n, --tail" flag: strconv.ParseInt: parsing "x": invalid syntax',
    ],
    [["---x"], "bad flag syntax: ---x"],
    [["--=x"], "bad flag syntax: --=x"],
  ];
  for (const [args, sentence] of refused) {
    test(`refuses ${args.join(" ")}`, () => expect(() => shown(args)).toThrow(sentence));
  }

  test("throws nothing but invalid-argument, whatever it is given", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (args) => {
        try {
          parseFlags(args, flags);
        } catch (error) {
          expect(error).toBeInstanceOf(EngineError);
        }
      }),
    );
  });
});
