import assert from "node:assert/strict";
import { test } from "node:test";
import type { StateChange } from "../src/api/types";
import { isCancellable, overall, spans, stages, stateText } from "../src/update";

const history = (...states: string[]): StateChange[] =>
  states.map((state, index) => ({ state, at_ms: index * 1000, running_version: "", running_slot: "" }));
const statuses = (state: string, previous: string) => stages({ state, previous }).map(({ status }) => status);

test("steps before the present one are done, those after it are ahead", () => {
  assert.deepEqual(statuses("installing", "downloading"), ["done", "done", "current", "ahead", "ahead", "ahead"]);
  assert.deepEqual(statuses("waiting", "offered"), ["current", "ahead", "ahead", "ahead", "ahead", "ahead"]);
});

test("verified is all done, even when reports were missed", () => {
  assert.deepEqual(statuses("verified", "offered"), Array(6).fill("done"));
});

test("a failure is shown at the step that it broke, a cancellation as stopped", () => {
  assert.deepEqual(statuses("rolled_back", "trial").slice(3), ["done", "failed", "ahead"]);
  assert.deepEqual(statuses("failed", "downloading").slice(0, 3), ["done", "failed", "ahead"]);
  assert.deepEqual(statuses("cancelled", "offered").slice(0, 2), ["stopped", "ahead"]);
});

test("the bar never runs backwards", () => {
  const way = ["offered", "waiting", "downloading", "installing", "installed", "rebooting", "trial", "verified"];
  let last = -1;
  for (const state of way) {
    for (const percent of [0, 50, 100]) {
      const now = overall({ state, percent });
      assert.ok(now >= last - Number.EPSILON, `${state} ${percent}`);
      last = now;
    }
  }
  assert.equal(last, 1);
});

test("only what has not been installed can be cancelled", () => {
  assert.equal(isCancellable("installing"), true);
  assert.equal(isCancellable("installed"), false);
  assert.equal(isCancellable("verified"), false);
});

test("states of a newer protocol have a text", () => {
  assert.equal(stateText("defrosting").label, "Unknown");
});

test("a state lasts until the next, the present one until now, a final one for ever", () => {
  const lasted = (states: string[]) => spans(history(...states), 5000).map(({ lastedMs }) => lastedMs);
  assert.deepEqual(lasted(["offered", "trial"]), [1000, 4000]);
  assert.deepEqual(lasted(["offered", "verified"]), [1000, undefined]);
});
