import { describe, expect, test } from "bun:test";
import { EngineError } from "../../lib/errors.ts";
import { compileTemplate } from "./evaluate.ts";
import { missingMember } from "./optional-members.ts";

const data = {
  Name: "/web",
  Id: "0123456789abcdef",
  Created: "2025-08-01T12:00:00Z",
  State: { Status: "running", Running: true, Pid: 42, ExitCode: 0 },
  Config: {
    Env: null,
    Cmd: ["sh", "-c", "x"],
    Labels: { "com.example.a": "1", b: "2" },
    Volumes: null,
  },
  Mounts: [{ Name: "data", Source: "/s" }, { Source: "/t" }],
  NetworkSettings: { Networks: { bridge: { IPAddress: "10.0.0.2" } } },
  HostConfig: { Memory: 8_388_608, NanoCpus: 1.5e9, Init: null },
};

function render(source: string, value: unknown = data): string {
  return compileTemplate(source, { missingField: missingMember }).execute(value);
}

describe("accepts", () => {
  test.each([
    ["plain", "plain"],
    ["{{.Name}}", "/web"],
    ["{{ .State.Pid }}-{{.State.Running}}", "42-true"],
    ["{{json .Config.Cmd}}", '["sh","-c","x"]'],
    ["{{json .Config.Env}}", "null"],
    [
      "{{.Config.Env}}|{{.Config.Volumes}}|{{.HostConfig.Init}}|{{.State.Health}}",
      "[]|map[]|<nil>|<nil>",
    ],
    ["{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"],
    ["{{with .Config.Labels}}{{.b}}{{end}}", "2"],
    ["{{with .Config.Env}}x{{else}}y{{end}}", "y"],
    ["{{range .Config.Cmd}}[{{.}}]{{end}}", "[sh][-c][x]"],
    ["{{range $i, $e := .Config.Cmd}}{{if $i}},{{end}}{{$e}}{{end}}", "sh,-c,x"],
    [
      "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}}{{end}}",
      "bridge=10.0.0.2",
    ],
    ["{{range .Config.Env}}x{{else}}empty{{end}}", "empty"],
    ['{{range .Config.Cmd}}{{if eq . "-c"}}{{break}}{{end}}{{.}}{{end}}', "sh"],
    ['{{range .Config.Cmd}}{{if eq . "-c"}}{{continue}}{{end}}{{.}}{{end}}', "shx"],
    ["{{.NetworkSettings.Networks.bridge.IPAddress}}", "10.0.0.2"],
    ["{{(index .Mounts 0).Name}}", "data"],
    ['{{index .Config.Labels "com.example.a"}}{{index .Config.Labels "none"}}', "1"],
    ["{{.Config.Labels.none}}", "<no value>"],
    ["{{len .Config.Cmd}}{{len .Name}}", "34"],
    ['{{.Name | upper | printf "%s!"}}', "/WEB!"],
    ['{{join .Config.Cmd ","}}', "sh,-c,x"],
    ['{{split .Name "/"}}', "[ web]"],
    [
      '{{truncate .Id 4}}|{{pad .Name 1 2}}|{{title "ab cd"}}|{{lower "AB"}}',
      "0123| /web  |Ab Cd|ab",
    ],
    [
      '{{printf "%s %d %v %q %t %5d|%-6s|%05d %x" .Name 3 true "a\\"b" false 7 "ab" 42 255}}',
      '/web 3 true "a\\"b" false     7|ab    |00042 ff',
    ],
    [
      '{{printf "%d" .Name}} {{printf "%s"}} {{printf "x" 1}}',
      "%!d(string=/web) %!s(MISSING) x%!(EXTRA int=1)",
    ],
    ['{{$x := .Name}}{{$x}}{{$x = "y"}}{{$x}}', "/weby"],
    [
      '{{eq .State.Status "exited" "running"}} {{ne 1 2}} {{lt 1 2}} {{ge "b" "a"}} {{not true}}',
      "true true true true false",
    ],
    ['{{and .State.Running .Name}} {{or .Config.Env "z"}} {{or false 0}}', "/web z 0"],
    ["{{if and .State.Running (eq .State.ExitCode 0)}}ok{{else if false}}a{{else}}b{{end}}", "ok"],
    ["{{if false}}a{{else if true}}b{{end}}", "b"],
    ["a {{- .Name -}} b", "a/webb"],
    ["{{/* a comment */}}x{{- /* trimmed */ -}} y", "xy"],
    ["{{println .Name 1}}", "/web 1\n"],
    ['{{print 1 2 "a" 3}}', "1 2a3"],
    ['{{html "<a>&"}}', "&lt;a&gt;&amp;"],
    ["{{`raw \\n`}}{{\"\\t\\u00e9\"}}{{'a'}}", "raw \\n\té97"],
    ["{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}", "8388608 1500000000"],
    ["{{$.Name}}{{range .Mounts}}{{$.Id | len}}{{end}}", "/web1616"],
    ["{{slice .Id 2 4}}{{index .Config.Cmd 1}}", "23-c"],
    ["{{.Config.Labels}}", "map[b:2 com.example.a:1]"],
  ])("%s", (source, expected) => {
    expect(render(source)).toBe(expected);
  });

  test("json keeps integers that no number holds", () => {
    expect(render("{{json .}}", { a: 1_795_269_607_762_639_943n })).toBe(
      '{"a":1795269607762639943}',
    );
  });

  test("a function of a row is a method", () => {
    const row = { Label: (name: string) => `<${name}>` };
    expect(render('{{.Label "x"}}{{.Label "y" | upper}}', row)).toBe("<x><Y>");
  });
});

describe("refuses in Go's words", () => {
  test.each([
    ["{{", "template: :1: unclosed action"],
    ["{{.Id", "template: :1: unclosed action"],
    ["a\n{{.Id", "template: :2: unclosed action"],
    ["{{if}}", "template: :1: missing value for if"],
    ["{{end}}", "template: :1: unexpected {{end}}"],
    ["{{range .Mounts}}", "template: :1: unexpected EOF"],
    ["{{foo}}", 'template: :1: function "foo" not defined'],
    ["{{$x}}", 'template: :1: undefined variable "$x"'],
    ["{{(.Id}}", "template: :1: unclosed left paren"],
    ["{{break}}", "template: :1: {{break}} outside {{range}}"],
    ['{{define "x"}}{{end}}', "template: :1: {{define}} is not there yet"],
    ['{{"a}}', "template: :1: unterminated quoted string"],
    ["{{}}", "template: :1: missing value for command"],
    ["{{.Id | 3}}", "template: :1: non executable command in pipeline stage 2: 3"],
    ["{{.Foo}}", 'template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"'],
    [
      "{{.State.Foo}}",
      'template: :1:8: executing "" at <.State.Foo>: map has no entry for key "Foo"',
    ],
    [
      "{{.Name.Foo}}",
      `template: :1:7: executing "" at <.Name.Foo>: can't evaluate field Foo in type interface {}`,
    ],
    [
      "{{index .Config.Cmd 5}}",
      'template: :1:2: executing "" at <index .Config.Cmd 5>: error calling index: index out of range: 5',
    ],
    [
      "{{len}}",
      'template: :1:2: executing "" at <len>: wrong number of args for len: want 1 got 0',
    ],
    [
      "{{range .Name}}{{end}}",
      `template: :1:8: executing "" at <.Name>: range can't iterate over /web`,
    ],
  ])("%s", (source, sentence) => {
    expect(() => render(source)).toThrow(sentence);
  });

  test("nesting that is too deep", () => {
    expect(() => render(`${"{{if true}}".repeat(200)}${"{{end}}".repeat(200)}`)).toThrow(
      "exceeded maximum depth",
    );
    expect(() => render(`{{${"(".repeat(200)}1${")".repeat(200)}}}`)).toThrow(
      "exceeded maximum depth",
    );
  });
});

test("noise is rendered or refused, never anything else", () => {
  const parts = [
    "{{",
    "}}",
    ".",
    "Name",
    " ",
    "if ",
    "range ",
    "end",
    "else",
    "(",
    ")",
    "|",
    '"',
    "$x",
    ":=",
    "1",
    "-",
    "json",
    "index",
    ",",
    "`",
    "/*",
    "*/",
    "\n",
  ];
  let seed = 20_250_801;
  for (let round = 0; round < 3000; round += 1) {
    let source = "";
    for (let at = 0; at < 12; at += 1) {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      source += parts[seed % parts.length];
    }
    try {
      expect(typeof render(source)).toBe("string");
    } catch (error) {
      if (!(error instanceof EngineError))
        throw new TypeError(`seed 20250801: ${source}`, { cause: error });
    }
  }
});
