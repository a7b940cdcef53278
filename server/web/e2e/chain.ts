// Tests that build on each other.

import assert from "node:assert/strict";
import { test } from "node:test";

/** Makes `test` for tests that need those before them: after a failure the rest would only wait for what cannot come. */
export function chain(): (name: string, body: () => Promise<void> | void) => void {
  let broken = false;
  return (name, body) => {
    test(name, async () => {
      assert.ok(!broken, "a test before this one failed");
      broken = true;
      await body();
      broken = false;
    });
  };
}
