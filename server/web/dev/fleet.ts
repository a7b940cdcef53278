// An invented fleet in the API's own types, for looking at the page without devices.

import type {
  AccessToken,
  AuditEntry,
  Bundle,
  Deployment,
  Device,
  DeviceProgress,
  Group,
  Project,
  Series,
  StateChange,
  User,
  UserInfo,
} from "../src/api/types";

const MINUTE = 60_000;
const DAY = 86_400_000;
const start = Date.now();

const HASH = "9f2c6d0b7a1e4f3858c1d2e7b6a5948372615049f8e7d6c5b4a3928170615243";

export const bundles: Bundle[] = [
  bundle("2026.11.2", start - 3 * 3_600_000, "4", "Kernel 6.12.58, safer Wi-Fi roaming"),
  bundle("2026.11.1", start - 9 * DAY, "a", "Monthly maintenance"),
  bundle("2026.10.0", start - 40 * DAY, "c", ""),
];

function bundle(version: string, created_ms: number, first: string, description: string): Bundle {
  return {
    id: first + HASH.slice(1),
    size: 184_320_512,
    created_ms,
    created_by: "admin",
    compatible: "homeport-qemu-x86_64",
    version,
    description,
    build: "20261120143012",
    format: "verity",
    manifest_hash: HASH,
    images: [
      {
        slot_class: "rootfs",
        filename: "homeport-image-qemux86-64.ext4",
        size: 536_870_912,
        adaptive: ["block-hash-index"],
      },
      { slot_class: "appfs", filename: "application.ext4", size: 67_108_864, adaptive: [] },
    ],
  };
}

const NAMES = [
  "Press line 3",
  "Kiln gateway",
  "Weigh bridge north",
  "Greenhouse 7",
  "Pump station Aller",
  "Cold store 2",
];

export const devices: Device[] = NAMES.map((name, index) => ({
  id: `k7m2q4xw5a9d3f${index}z`,
  name,
  online: index !== 2 && index !== 4,
  last_seen_ms: start - index * 37 * MINUTE,
  paired_ms: start - (60 - index) * DAY,
  revoked: index === 4,
  certificate_sha256: HASH,
  certificate_expires_ms: start + (index === 1 ? 12 : 300) * DAY,
  address: `198.51.100.${20 + index}`,
  serial: `HP-2026-00${41 + index}`,
  model: "Reference board x86_64",
  os_version: index % 2 ? "2026.11.1" : "2026.10.0",
  os: "Debian GNU/Linux 13 (trixie)",
  agent_version: "0.1.0",
  kernel: "6.12.57-amd64",
  architecture: "x86_64",
  hostname: `board-${index}`,
  updater: "rauc 1.13",
  compatible: "homeport-qemu-x86_64",
  slots: [
    slot("rootfs.0", "A", "booted", "good", index % 2 ? "2026.11.1" : "2026.10.0"),
    slot("rootfs.1", "B", "inactive", index === 3 ? "bad" : "good", index === 3 ? "2026.11.2" : "2026.9.4"),
    slot("appfs.0", "", "active", "", "2026.10.0"),
    slot("appfs.1", "", "inactive", "", "2026.9.4"),
  ],
  groups: index < 3 ? ["plant-celle", "canary"].slice(0, index === 0 ? 2 : 1) : index === 3 ? ["greenhouses"] : [],
  project: index < 3 ? "acme/plant-celle" : index < 5 ? "borealis" : null,
  update: null,
}));

export const projects: Project[] = ["acme", "acme/plant-celle", "borealis"].map((path) => ({
  path,
  devices: devices.filter(({ project }) => project === path || project?.startsWith(`${path}/`)).length,
}));

const everything = { id: 1, role: "administrator" } as const;

export const user: User = {
  name: "admin",
  grants: [everything],
  permissions: [
    "device.read",
    "telemetry.read",
    "group.read",
    "bundle.read",
    "deployment.read",
    "project.read",
    "device.change",
    "deployment.create",
    "deployment.cancel",
    "device.revoke",
    "device.delete",
    "device.move",
    "pairing.read",
    "pairing.change",
    "group.change",
    "bundle.change",
    "audit.read",
    "user.read",
    "user.change",
    "project.change",
  ],
};

const account = (name: string, age: number, more: Partial<UserInfo>): UserInfo => ({
  name,
  kind: "person",
  disabled: false,
  created_ms: start - age * DAY,
  last_login_ms: start - age * MINUTE,
  grants: [],
  ...more,
});

export const users: UserInfo[] = [
  account("admin", 200, { grants: [everything] }),
  account("build-server", 90, {
    kind: "service",
    project: "acme",
    last_login_ms: null,
    grants: [{ id: 4, role: "maintainer", project: "acme" }],
  }),
  account("jonas@borealis.example", 40, { project: "borealis", disabled: true }),
  account("mara@acme.example", 60, {
    project: "acme",
    grants: [
      { id: 2, role: "operator", project: "acme" },
      { id: 3, role: "viewer", group: "canary" },
    ],
  }),
];

export const tokens: AccessToken[] = [
  {
    id: 2,
    name: "release pipeline",
    role: "maintainer",
    project: "acme",
    created_ms: start - 80 * DAY,
    expires_ms: start + 10 * DAY,
    last_used_ms: start - 12 * MINUTE,
  },
  { id: 1, name: "laptop", role: "viewer", created_ms: start - 91 * DAY, expires_ms: start - DAY },
];

function slot(name: string, bootname: string, state: string, boot_status: string, version: string) {
  return { name, bootname, state, boot_status, version, installed_at: new Date(start - 20 * DAY).toISOString() };
}

export const groups: Group[] = ["canary", "greenhouses", "plant-celle"].map((name) => ({
  name,
  devices: devices.filter((device) => device.groups.includes(name)).length,
}));

const PATH = ["offered", "downloading", "installing", "installed", "rebooting", "trial", "verified"];

/** A device's way through a deployment, up to `state`. */
export function progress(
  device: Device,
  deployment: number,
  version: string,
  state: string,
  at: number,
): DeviceProgress {
  const ended = state === "rolled_back" ? "trial" : state === "failed" ? "downloading" : state;
  const passed = PATH.slice(0, PATH.indexOf(ended) + 1);
  if (ended !== state) passed.push(state);
  const reason =
    state === "rolled_back"
      ? { code: "failed_unit", detail: "kiln-control.service failed 4 s after boot" }
      : state === "failed"
        ? { code: "signature", detail: "signature verification failed: unable to get local issuer certificate" }
        : null;
  const installing = state === "installing";
  return {
    device: device.id,
    device_name: device.name,
    id: deployment * 10 + devices.indexOf(device),
    origin: "deployment",
    deployment,
    version,
    state,
    previous: passed.at(-2) ?? null,
    steps: passed.length,
    reason,
    running_version: device.os_version,
    running_slot: "A",
    percent: installing ? 46 : 0,
    message: installing ? "Copying image to rootfs.1" : "",
    bytes_fetched: passed.length > 2 ? 7_340_032 : 0,
    bundle_size: 184_320_512,
    started_ms: at,
    updated_ms: at + passed.length * 21_000,
  };
}

/** Every state of an update that went the way to its state without a detour. */
export function history(update: DeviceProgress): StateChange[] {
  const passed = PATH.slice(0, update.steps);
  return passed.map((entered, index) => ({
    state: index === update.steps - 1 ? update.state : entered,
    at_ms: update.started_ms + index * 21_000,
    running_version: index > 4 ? update.version : "2026.10.0",
    running_slot: index > 4 ? "B" : "A",
    reason: index === update.steps - 1 ? (update.reason ?? null) : null,
  }));
}

const states: [number, number, string, string, number][] = [
  [0, 12, "2026.11.2", "installing", start - 70_000],
  [1, 12, "2026.11.2", "trial", start - 130_000],
  [2, 12, "2026.11.2", "offered", start - 130_000],
  [3, 11, "2026.11.2", "rolled_back", start - 2 * 3_600_000],
  [5, 10, "2026.11.1", "verified", start - 8 * DAY],
  [4, 9, "2026.11.1", "failed", start - 8.5 * DAY],
];

export const progresses: DeviceProgress[] = [];

export const deployments: Deployment[] = [12, 11, 10, 9].map((id) => {
  const rows = states.filter(([, deployment]) => deployment === id);
  const all = rows.flatMap(([index, , version, state, at]) => {
    const device = devices[index];
    if (!device) return [];
    const row = progress(device, id, version, state, at);
    device.update = row;
    progresses.push(row);
    return [row];
  });
  const [, , version = "", , at = start] = rows[0] ?? [];
  return {
    id,
    bundle: bundles.find((one) => one.version === version)?.id ?? "",
    version,
    target: id === 12 ? { group: "plant-celle" } : { device: all[0]?.device ?? "" },
    created_ms: at - 2000,
    created_by: "admin",
    finished: id !== 12,
    states: Object.fromEntries(all.map(({ state }) => [state, all.filter((one) => one.state === state).length])),
    updated_ms: at,
  };
});

export const audit: AuditEntry[] = [
  ["admin", "deployment.create", "12", "bundle 2026.11.2 to group plant-celle"],
  ["admin", "bundle.upload", bundles[0]?.id ?? "", "2026.11.2, 184320512 bytes"],
  ["system", "device.rolled_back", devices[3]?.id ?? "", "failed_unit"],
  ["admin", "device.revoke", devices[4]?.id ?? "", ""],
  [`device:${devices[5]?.id}`, "device.pair", devices[5]?.id ?? "", "token 6"],
  ["admin", "session.create", "admin", "from 203.0.113.9"],
].map(([actor = "", action = "", subject = "", detail = ""], index) => ({
  id: 6 - index,
  at_ms: start - index * 17 * MINUTE,
  actor,
  action,
  subject,
  detail,
}));

const GB = 1e9;

/** Samples between two times, `points` a series; the same for the same time. */
export function telemetry(from: number, to: number, points: number): Series[] {
  const step = (to - from) / points;
  const times = Array.from({ length: points }, (_, index) => Math.round(from + (index + 1) * step));
  const series = (name: string, unit: string, value: (at: number) => number): Series => ({
    name,
    unit,
    points: times.map((at_ms) => ({ at_ms, value: value(at_ms) })),
  });
  const wave = (at: number, period: number) => (Math.sin((at / period) * 2 * Math.PI) + 1) / 2;
  const noise = (at: number) => (((Math.sin(at / 977) * 43_758.5) % 1) + 1) % 1;
  return [
    series("cpu.busy", "/", (at) => 0.06 + 0.3 * wave(at, 411_000) ** 4 + 0.08 * noise(at)),
    series("cpu.load1", "", (at) => 0.2 + wave(at, 900_000)),
    series("memory.total", "B", () => 2 * GB),
    series("memory.available", "B", (at) => 1.31 * GB - 0.1 * GB * wave(at, 1_700_000) - 0.01 * GB * noise(at)),
    series("disk.root.total", "B", () => 1.6 * GB),
    series("disk.root.available", "B", () => 0.61 * GB),
    series("disk./data.total", "B", () => 8 * GB),
    series("disk./data.available", "B", (at) => 5.1 * GB - 0.2 * GB * wave(at, 9_000_000)),
    series("temperature.cpu", "Cel", (at) => 48 + 9 * wave(at, 411_000) + noise(at)),
    series("network.eth0.rx", "B", (at) => (at - 1.79e12) * 60 + 2e6 * wave(at, 300_000)),
    series("network.eth0.tx", "B", (at) => (at - 1.79e12) * 22 + 1e6 * wave(at, 500_000)),
  ];
}
