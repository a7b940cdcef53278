import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bundle, Deployment, Device, DeviceProgress } from "../src/api/types";
import { EMPTY, type Fleet, merge, mergeDeployment, withNews, withoutBundle } from "../src/merge";

const device = (id: string, extra: Partial<Device> = {}): Device => ({
  id,
  name: id,
  online: false,
  paired_ms: 0,
  revoked: false,
  certificate_sha256: "",
  certificate_expires_ms: 0,
  os_version: "",
  os: "",
  agent_version: "",
  kernel: "",
  architecture: "",
  hostname: "",
  updater: "",
  compatible: "",
  slots: [],
  groups: [],
  ...extra,
});

/** An update of a device; those of a later deployment have a higher number. */
const progress = (on: string, deployment: number | null, state: string, steps: number): DeviceProgress => ({
  device: on,
  device_name: on,
  id: (deployment ?? 0) * 100 + on.charCodeAt(0),
  origin: deployment === null ? "local" : "deployment",
  deployment,
  version: "2",
  state,
  steps,
  running_version: "",
  running_slot: "",
  percent: 0,
  message: "",
  bytes_fetched: 0,
  bundle_size: 0,
  started_ms: 0,
  // Clocks step back: nothing may hang on this.
  updated_ms: 1000 - steps,
});

const deployment = (id: number, states: Record<string, number>, updated_ms = 0): Deployment => ({
  id,
  bundle: "b",
  version: "2",
  target: { group: "all" },
  created_ms: 0,
  created_by: "admin",
  finished: false,
  states,
  updated_ms,
});

const bundle = (id: string, project: string | null = null): Bundle => ({
  id,
  project,
  size: 0,
  created_ms: 0,
  created_by: "admin",
  compatible: "",
  version: "2",
  description: "",
  build: "",
  format: "verity",
  manifest_hash: "",
  images: [],
});

const fleet = (devices: Device[], deployments: Deployment[] = []): Fleet => ({
  ...EMPTY,
  devices: new Map(devices.map((one) => [one.id, one])),
  deployments: new Map(deployments.map((one) => [one.id, one])),
});

test("devices come, change and go", () => {
  let { fleet: now } = merge(EMPTY, { type: "device", device: device("a") });
  ({ fleet: now } = merge(now, { type: "device", device: device("a", { online: true }) }));
  assert.equal(now.devices.get("a")?.online, true);
  ({ fleet: now } = merge(now, { type: "device_removed", id: "a" }));
  assert.equal(now.devices.size, 0);
  assert.equal(EMPTY.devices.size, 0);
});

test("an update moves the device, and has its deployment counted again when its state changes", () => {
  const start = fleet([device("a")], [deployment(1, { offered: 1 })]);
  const trial = merge(start, { type: "update", update: progress("a", 1, "trial", 2) });
  assert.equal(trial.fleet.devices.get("a")?.update?.state, "trial");
  assert.equal(trial.movedDeployment, 1);
  const further = merge(trial.fleet, { type: "update", update: { ...progress("a", 1, "trial", 2), percent: 50 } });
  assert.equal(further.fleet.devices.get("a")?.update?.percent, 50);
  assert.equal(further.movedDeployment, undefined);
});

test("what is older than what is known changes nothing", () => {
  const start = fleet([device("a", { update: progress("a", 1, "trial", 5) })]);
  const late = merge(start, { type: "update", update: progress("a", 1, "installing", 4) }).fleet;
  assert.equal(late.devices.get("a")?.update?.state, "trial");
});

test("an older deployment that ends late does not hide the newer one on the device", () => {
  const start = fleet([device("a", { update: progress("a", 2, "offered", 1) })], [deployment(1, { installing: 1 })]);
  const now = merge(start, { type: "update", update: progress("a", 1, "cancelled", 9) });
  assert.equal(now.fleet.devices.get("a")?.update?.deployment, 2);
  assert.equal(now.movedDeployment, 1);
});

test("a deployment that is not known is asked for; a local update belongs to none", () => {
  const start = fleet([device("a", { update: progress("a", 9, "offered", 1) })]);
  assert.equal(merge(start, { type: "update", update: progress("a", 9, "offered", 1) }).movedDeployment, 9);
  const local = merge(fleet([device("a")]), { type: "update", update: progress("a", null, "installing", 1) });
  assert.equal(local.movedDeployment, undefined);
  assert.equal(local.fleet.devices.get("a")?.update?.origin, "local");
});

test("events that hold nothing of the fleet leave it as it is", () => {
  const start = fleet([device("a")]);
  assert.equal(merge(start, { type: "resync" }).fleet, start);
  assert.equal(merge(start, { type: "telemetry", device: "a", series: [] }).fleet, start);
});

test("an answer that events overtook does not take back what they told", () => {
  const cancelled = progress("a", 7, "cancelled", 2);
  const known = fleet([device("a", { update: cancelled })], [deployment(7, { cancelled: 1 }, 20)]);
  const answered = mergeDeployment(known, deployment(7, { offered: 1 }, 10));
  assert.deepEqual(answered.deployments.get(7)?.states, { cancelled: 1 });

  const late = progress("a", 7, "offered", 1);
  const renamed = merge(known, { type: "device", device: device("a", { name: "Press 4", update: late }) }).fleet;
  assert.equal(renamed.devices.get("a")?.name, "Press 4");
  assert.equal(renamed.devices.get("a")?.update?.state, "cancelled");

  const [a, b] = [progress("a", 7, "offered", 1), progress("b", 7, "verified", 5)];
  const rows = withNews([a, b], new Map([[a.id, cancelled]]), true);
  assert.deepEqual(
    rows.map(({ device, state }) => [device, state]),
    [
      ["a", "cancelled"],
      ["b", "verified"],
    ],
  );
});

test("an answer that is newer than what is known counts", () => {
  const known = fleet([], [deployment(7, { offered: 1 }, 10)]);
  const answered = mergeDeployment(known, deployment(7, { cancelled: 1 }, 20));
  assert.deepEqual(answered.deployments.get(7)?.states, { cancelled: 1 });
  const [a, late] = [progress("a", 7, "trial", 3), progress("a", 7, "offered", 1)];
  assert.deepEqual(withNews([a], new Map([[a.id, late]]), true), [a]);
});

test("a device on a page that was not fetched waits for its page", () => {
  const news = new Map([[1, progress("b", 7, "trial", 3)]]);
  assert.equal(withNews([progress("a", 7, "trial", 3)], news, false).length, 1);
  assert.equal(withNews([progress("a", 7, "trial", 3)], news, true).length, 2);
});

test("the same bundle in several projects is kept for each", () => {
  const ours = bundle("b", "acme");
  const theirs = bundle("b", "borealis");
  const both = [ours, theirs].reduce((known, one) => merge(known, { type: "bundle", bundle: one }).fleet, EMPTY);
  assert.deepEqual([...both.bundles.values()], [ours, theirs]);
  // The event of one's own deletion comes after its answer.
  let now = withoutBundle(both, ours);
  assert.deepEqual([...now.bundles.values()], [theirs]);
  ({ fleet: now } = merge(now, { type: "bundle_removed", id: "b", project: "acme" }));
  assert.deepEqual([...now.bundles.values()], [theirs]);
  ({ fleet: now } = merge(now, { type: "bundle_removed", id: "b", project: "borealis" }));
  assert.equal(now.bundles.size, 0);
});
