import assert from "node:assert/strict";
import { test } from "node:test";
import names from "../../../protocol/tests/series.json";
import type { Point, Series } from "../src/api/types";
import { append, byName, charts, columns, rates, used } from "../src/telemetry";

const points = (...pairs: [at_ms: number, value: number][]): Point[] =>
  pairs.map(([at_ms, value]) => ({ at_ms, value }));

test("a counter becomes a rate a second", () => {
  assert.deepEqual(rates(points([0, 0], [2000, 1000], [3000, 1000])), points([2000, 500], [3000, 0]));
});

test("a counter that was reset gives no rate, nor do two samples of one time", () => {
  assert.deepEqual(rates(points([0, 900], [1000, 10], [2000, 30])), points([2000, 20]));
  assert.deepEqual(rates(points([1000, 5], [1000, 9])), []);
  assert.deepEqual(rates([]), []);
});

test("used is what was total at that time less what is available", () => {
  const total = points([0, 100], [20, 200]);
  assert.deepEqual(used(total, points([0, 40], [10, 30], [20, 30])), points([0, 60], [10, 70], [20, 170]));
  assert.deepEqual(used([], points([0, 1])), []);
  assert.deepEqual(used(points([0, 10]), points([0, 11])), points([0, 0]));
});

test("live samples are added in order, once, and old ones leave", () => {
  const series = (name: string, ...pairs: [number, number][]): Series => ({ name, unit: "", points: points(...pairs) });
  const known = byName([series("a", [10, 1], [20, 2]), series("b", [5, 9])]);
  const merged = append(known, [series("a", [30, 3]), series("c", [30, 7])], 10);
  assert.deepEqual(merged.get("a"), points([10, 1], [20, 2], [30, 3]));
  assert.deepEqual(merged.get("b"), []);
  assert.deepEqual(merged.get("c"), points([30, 7]));
  const late = append(merged, [series("a", [15, 5], [20, 2])], 10);
  assert.deepEqual(late.get("a"), points([10, 1], [15, 5], [20, 2], [30, 3]));
});

test("columns share one axis, and a silence is a gap", () => {
  const [axis, a, b] = columns([
    { label: "a", points: points([1000, 1], [2000, 2], [3000, 3], [9000, 9]) },
    { label: "b", points: points([2000, 5]) },
  ]);
  assert.deepEqual(axis, [1, 2, 3, 6, 9]);
  assert.deepEqual(a, [1, 2, 3, null, 9]);
  assert.deepEqual(b, [null, 5, null, null, null]);
});

test("charts come from the names that agents use; loopback traffic is left out", () => {
  const two = points([0, 1], [1000, 2]);
  const specs = charts(
    new Map([
      ["network.eth0.rx", two],
      ["network.eth0.tx", two],
      ["network.lo.rx", two],
      ["cpu.busy", two],
      ["cpu.load1", two],
      ["disk.root.total", points([0, 10])],
      ["disk.root.available", points([0, 4])],
      ["disk.var-lib.total", points([0, 10])],
      ["disk.var-lib.available", points([0, 5])],
      ["memory.total", points([0, 10])],
      ["temperature.cpu", two],
      ["uptime", two],
    ]),
  );
  assert.deepEqual(
    specs.map(({ key, lines }) => [key, lines.map(({ label }) => label)]),
    [
      ["cpu", ["busy"]],
      ["disk", ["/", "/var/lib"]],
      ["temperature", ["cpu"]],
      ["network", ["eth0 in", "eth0 out"]],
    ],
  );
  assert.equal(specs[0]?.note, "load 2.00");
  assert.deepEqual(specs[1]?.lines[0]?.points, points([0, 0.6]));
});

test("lines are labelled with what the names of their series stand for", () => {
  const label = {
    disk: (of: string) => [of],
    temperature: (of: string) => [of],
    network: (of: string) => [`${of} in`, `${of} out`],
  };
  for (const { kind, of, names: series } of [...names.written, ...names.older]) {
    const specs = charts(new Map(series.map((name) => [name, points([0, 1], [1000, 2])])));
    assert.deepEqual(
      specs.map(({ key, lines }) => [key, lines.map(({ label }) => label)]),
      [[kind, label[kind as keyof typeof label](of)]],
      series.join(" "),
    );
  }
});

test("a label has no hidden characters, and does not turn around what is beside it", () => {
  const hebrew = "\u{5e9}";
  for (const [part, label] of [
    ["a:e2:80:aeb", "a:e2:80:aeb in"],
    ["a:1bb", "a:1bb in"],
    ["a:d7:a9", `\u{2068}a${hebrew}\u{2069} in`],
  ] as const) {
    const specs = charts(new Map([[`network.${part}.rx`, points([0, 1], [1000, 2])]]));
    assert.equal(specs[0]?.lines[0]?.label, label);
  }
});

test("a mount that has another name since an update of the agent is one line", () => {
  const specs = charts(
    new Map([
      ["disk./data.total", points([2000, 10])],
      ["disk./data.available", points([2000, 5], [3000, 4])],
      ["disk.data.total", points([0, 10])],
      ["disk.data.available", points([0, 8], [1000, 7])],
    ]),
  );
  assert.deepEqual(specs[0]?.lines, [
    { label: "/data", points: points([0, 0.2], [1000, 0.3], [2000, 0.5], [3000, 0.6]) },
  ]);
});

test("what was not kept has a chart once there is some", () => {
  const point = { at_ms: 0, value: 3 };
  const specs = charts(
    byName([
      { name: "server.dropped", unit: "", points: [point] },
      { name: "agent.left-out", unit: "", points: [] },
    ]),
  );
  assert.deepEqual(
    specs.map(({ key, lines }) => [key, lines.map(({ label }) => label)]),
    [["lost", ["samples the server did not take"]]],
  );
});
