import { describe, expect, test } from "bun:test";
import { drawTerminal, parseLine } from "./terminal-picture.ts";

const esc = "\u001b";

describe("parseLine()", () => {
  test("splits at colours and goes back", () => {
    const spans = parseLine(`a ${esc}[1;32mok${esc}[0m b`);
    expect(spans.map(({ text, isBold }) => [text, isBold])).toEqual([
      ["a ", false],
      ["ok", true],
      [" b", false],
    ]);
    expect(spans[1]?.colour).not.toBe(spans[0]?.colour);
    expect(spans[2]?.colour).toBe(spans[0]?.colour ?? "");
  });

  test("drops sequences that are no colours", () => {
    const text = `${esc}[2Kx${esc}[?25ly${esc}]0;title\u0007z`;
    expect(parseLine(text).map((span) => span.text)).toEqual(["x", "y", "z"]);
  });
});

describe("drawTerminal()", () => {
  test("draws each line that has text, and the title", () => {
    const svg = drawTerminal("# tug ps\n\nNAMES\n", { title: "a demo" });
    expect(svg.match(/<text y=/g)).toHaveLength(2);
    expect(svg).toContain("<title>a demo</title>");
    expect(svg).toContain(">tug ps</tspan>");
  });

  test("keeps what is hostile to XML out of it", () => {
    const svg = drawTerminal(`<script>&"\u0000\u0007</script>`, { title: "<t>" });
    expect(svg).not.toContain("<script");
    expect(svg).toContain("&lt;script&gt;&amp;&quot;&lt;/script&gt;");
    expect(svg).toContain("<title>&lt;t&gt;</title>");
    // oxlint-disable-next-line no-control-regex -- control characters are the subject
    expect(/[\u0000-\u0008]/.test(svg)).toBe(false);
  });

  test("cuts long lines and many rows", () => {
    const svg = drawTerminal(`${"x".repeat(50)}\n`.repeat(9), {
      title: "t",
      columnsMax: 10,
      rowsMax: 3,
    });
    expect(svg.match(/x{9}<\/tspan>/g)).toHaveLength(3);
    expect(svg.match(/…/g)).toHaveLength(3);
  });

  test("sets tabs to columns of eight", () => {
    expect(drawTerminal("ab\tc", { title: "t" })).toContain(">ab      c<");
  });
});
