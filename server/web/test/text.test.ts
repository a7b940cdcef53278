import assert from "node:assert/strict";
import { test } from "node:test";
import { named, parse } from "../src/text";

test("hidden characters do not come in, wherever they are", () => {
  for (const hidden of [
    "\u{1b}",
    "\u{9b}",
    "\n",
    "\u{202e}",
    "\u{2066}",
    "\u{200b}",
    "\u{feff}",
    "\u{e0041}",
    "\u{ad}",
  ]) {
    const json = JSON.stringify({ items: [{ name: `a${hidden}b` }], count: 1 });
    assert.deepEqual(parse(json), { items: [{ name: "a\u{fffd}b" }], count: 1 }, JSON.stringify(hidden));
  }
  assert.deepEqual(parse('["Überwachung 監視"]'), ["Überwachung 監視"]);
});

test("a name that runs from right to left stays within itself", () => {
  assert.equal(named("gate 7"), "gate 7");
  assert.equal(named("gate\u{202e}7"), "gate\u{fffd}7");
  assert.equal(named("שער 7"), "\u{2068}שער 7\u{2069}");
});

test("joiners stay where a script needs them, as the server has it", () => {
  for (const [text, shown] of [
    ["می\u{200c}خواهم", "می\u{200c}خواهم"],
    ["👩\u{200d}🔧 7", "👩\u{200d}🔧 7"],
    ["ga\u{200d}te", "ga\u{fffd}te"],
    ["👩\u{200d}", "👩\u{fffd}"],
    ["👩\u{200d}\u{202e}🔧", "👩\u{fffd}\u{fffd}🔧"],
    ["\u{3000}\u{200d}\u{3000}", "\u{3000}\u{fffd}\u{3000}"],
  ] as const) {
    assert.deepEqual(parse(JSON.stringify([text])), [shown]);
  }
});
