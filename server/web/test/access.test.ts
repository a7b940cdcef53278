import assert from "node:assert/strict";
import { test } from "node:test";
import {
  groupName,
  holdsEverywhere,
  holdsFor,
  isWithin,
  type Place,
  parsePlace,
  placeText,
  placeValue,
} from "../src/access";
import type { Role } from "../src/api/types";

const PLACES: [place: Place, value: string, text: string][] = [
  [{}, "", "everything"],
  [{ project: "acme/plant-1" }, "project:acme/plant-1", "project acme/plant-1"],
  [{ group: "acme/pilot" }, "group:acme/pilot", "group acme/pilot"],
];

test("a place of a role is the same before and after a form", () => {
  for (const [place, value, text] of PLACES) {
    assert.equal(placeValue(place), value);
    assert.deepEqual(parsePlace(value), place);
    assert.equal(placeText(place), text);
  }
});

test("only a role without a place holds everywhere", () => {
  assert.equal(holdsEverywhere([]), false);
  assert.equal(holdsEverywhere([{ id: 1, role: "administrator", project: "acme" }]), false);
  assert.equal(holdsEverywhere([{ id: 1, role: "administrator", group: "acme/pilot" }]), false);
  assert.equal(holdsEverywhere([{ id: 1, role: "viewer", project: null, group: null }]), true);
});

test("a project holds what is below it, not what begins alike", () => {
  for (const [project, above, within] of [
    ["acme", "acme", true],
    ["acme/plant-1", "acme", true],
    ["acme-2", "acme", false],
    ["acme", "acme/plant-1", false],
    [null, "acme", false],
    [undefined, "acme", false],
    ["acme", "", true],
    [null, null, true],
  ] as const) {
    assert.equal(isWithin(project, above), within, `${project} in ${above}`);
  }
});

test("a group that is named without a path is of the same project", () => {
  assert.equal(groupName("pilot", "acme"), "acme/pilot");
  assert.equal(groupName("borealis/pilot", "acme"), "borealis/pilot");
  assert.equal(groupName("pilot", null), "pilot");
  assert.equal(groupName("pilot", ""), "pilot");
});

test("a role on another project, on another group, or one that can do less does not hold for a device", () => {
  const device = { project: "acme/plant", groups: ["acme/pilot"] };
  const grant = (role: Role, place: Place) => [{ id: 1, role, ...place }];
  assert.ok(holdsFor(device, "operator", grant("operator", { project: "acme" })));
  assert.ok(holdsFor(device, "operator", grant("administrator", {})));
  assert.ok(holdsFor(device, "operator", grant("maintainer", { group: "acme/pilot" })));
  assert.ok(!holdsFor(device, "operator", grant("viewer", { project: "acme" })));
  assert.ok(!holdsFor(device, "operator", grant("operator", { project: "acme/other" })));
  assert.ok(!holdsFor(device, "operator", grant("administrator", { group: "acme/other" })));
  assert.ok(!holdsFor(device, "operator", []));
});
