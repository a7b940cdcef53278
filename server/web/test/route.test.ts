import assert from "node:assert/strict";
import { test } from "node:test";
import { problemFrom } from "../src/api/client";
import { links, parse } from "../src/route";

test("links lead to the pages that they name", () => {
  assert.deepEqual(parse(""), { page: "devices" });
  assert.deepEqual(parse(links.devices), { page: "devices" });
  assert.deepEqual(parse(links.device("a/b c")), { page: "device", id: "a/b c" });
  assert.deepEqual(parse(links.deployment(12)), { page: "deployment", id: 12 });
  assert.deepEqual(parse(links.person("a@b.example")), { page: "person", name: "a@b.example" });
  for (const page of ["bundles", "deployments", "audit", "people", "projects", "account"] as const) {
    assert.deepEqual(parse(links[page]), { page });
  }
});

test("what is no page is missing", () => {
  for (const hash of [
    "#/deployments/x",
    "#/nowhere",
    "#/bundles/1",
    "#/devices/a/b",
    "#/projects/acme",
    "#/devices/%E0%A4%A/x",
  ]) {
    assert.deepEqual(parse(hash), { page: "missing" }, hash);
  }
});

test("an error answer is understood as a problem, whoever gave it", () => {
  const problem = { type: "token-expired", title: "Expired", status: 410, detail: "Make a new one." };
  assert.deepEqual(problemFrom(410, JSON.stringify(problem)), problem);
  for (const text of ["", "<html>Bad gateway</html>", "null", "[]", '"x"']) {
    const made = problemFrom(502, text);
    assert.equal(made.status, 502);
    assert.match(made.detail, /502/);
  }
});
