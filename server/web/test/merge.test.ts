import assert from "node:assert/strict";
import { test } from "node:test";
import type { Deployment, Device, DeviceProgress } from "../src/api/types";
import { EMPTY, type Fleet, merge, mergeDeployment } from "../src/merge";

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

const progress = (on: string, deployment: number | null, state: string, updated_ms: number): DeviceProgress => ({
  device: on,
  device_name: on,
  origin: deployment === null ? "local" : "deployment",
  deployment,
  version: "2",
  state,
  percent: 0,
  message: "",
  bytes_fetched: 0,
  bundle_size: 0,
  started_ms: (deployment ?? 0) * 1000,
  updated_ms,
  history: [],
});

const deployment = (id: number, devices: DeviceProgress[]): Deployment => ({
  id,
  bundle: "b",
  version: "2",
  target: { group: "all" },
  created_ms: 0,
  created_by: "admin",
  finished: false,
  devices,
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

test("an update moves the device and its deployment, which finishes with its last device", () => {
  const start = fleet(
    [device("a"), device("b")],
    [deployment(1, [progress("a", 1, "offered", 10), progress("b", 1, "verified", 10)])],
  );
  const trial = merge(start, { type: "update", update: progress("a", 1, "trial", 20) }).fleet;
  assert.equal(trial.devices.get("a")?.update?.state, "trial");
  assert.equal(trial.deployments.get(1)?.devices[0]?.state, "trial");
  assert.equal(trial.deployments.get(1)?.finished, false);
  const done = merge(trial, { type: "update", update: progress("a", 1, "rolled_back", 30) }).fleet;
  assert.equal(done.deployments.get(1)?.finished, true);
});

test("what is older than what is known changes nothing", () => {
  const start = fleet(
    [device("a", { update: progress("a", 1, "trial", 50) })],
    [deployment(1, [progress("a", 1, "trial", 50)])],
  );
  const late = merge(start, { type: "update", update: progress("a", 1, "installing", 40) }).fleet;
  assert.equal(late.devices.get("a")?.update?.state, "trial");
  assert.equal(late.deployments.get(1)?.devices[0]?.state, "trial");
});

test("an older deployment that ends late does not hide the newer one on the device", () => {
  const start = fleet(
    [device("a", { update: progress("a", 2, "offered", 10) })],
    [deployment(1, [progress("a", 1, "installing", 5)])],
  );
  const now = merge(start, { type: "update", update: progress("a", 1, "cancelled", 90) }).fleet;
  assert.equal(now.devices.get("a")?.update?.deployment, 2);
  assert.equal(now.deployments.get(1)?.devices[0]?.state, "cancelled");
});

test("a deployment that is not known is asked for; a local update belongs to none", () => {
  const start = fleet([device("a")]);
  assert.equal(merge(start, { type: "update", update: progress("a", 9, "offered", 1) }).unknownDeployment, 9);
  const local = merge(start, { type: "update", update: progress("a", null, "installing", 1) });
  assert.equal(local.unknownDeployment, undefined);
  assert.equal(local.fleet.devices.get("a")?.update?.origin, "local");
});

test("events that hold nothing of the fleet leave it as it is", () => {
  const start = fleet([device("a")]);
  assert.equal(merge(start, { type: "resync" }).fleet, start);
  assert.equal(merge(start, { type: "telemetry", device: "a", series: [] }).fleet, start);
});

test("an answer that events overtook does not take back what they told", () => {
  const cancelled = progress("a", 7, "cancelled", 20);
  const known = fleet([device("a", { update: cancelled })], [deployment(7, [cancelled])]);
  const late = progress("a", 7, "offered", 10);

  const answered = mergeDeployment(known, deployment(7, [late, progress("b", 7, "verified", 5)]));
  assert.deepEqual(
    answered.deployments.get(7)?.devices.map(({ device, state }) => [device, state]),
    [
      ["a", "cancelled"],
      ["b", "verified"],
    ],
  );
  assert.equal(answered.deployments.get(7)?.finished, true);
  const renamed = merge(known, { type: "device", device: device("a", { name: "Press 4", update: late }) }).fleet;
  assert.equal(renamed.devices.get("a")?.name, "Press 4");
  assert.equal(renamed.devices.get("a")?.update?.state, "cancelled");
});

test("an answer that is newer than what is known counts", () => {
  const known = fleet([], [deployment(7, [progress("a", 7, "offered", 10)])]);
  const answered = mergeDeployment(known, deployment(7, [progress("a", 7, "cancelled", 20)]));
  assert.equal(answered.deployments.get(7)?.devices[0]?.state, "cancelled");
});
