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
