// What the states of an update mean to the person who watches.

import type { DeviceUpdate, StateChange } from "./api/types";

export type Tone = "neutral" | "active" | "good" | "warn" | "bad";

interface StateText {
  label: string;
  tone: Tone;
  /** What is happening. */
  explains: string;
}

const STATES: Record<string, StateText> = {
  offered: {
    label: "Offered",
    tone: "neutral",
    explains: "The device has not answered yet. It is told when it connects.",
  },
  waiting: { label: "Waiting", tone: "warn", explains: "The device has accepted the update and waits." },
  downloading: {
    label: "Downloading",
    tone: "active",
    explains: "The device fetches the bundle's header and checks it.",
  },
  installing: { label: "Installing", tone: "active", explains: "The device writes its inactive slot." },
  installed: { label: "Installed", tone: "active", explains: "Written. The next boot tries the new slot." },
  rebooting: { label: "Rebooting", tone: "active", explains: "The device restarts into the new slot." },
  trial: { label: "On trial", tone: "active", explains: "The new version runs and proves itself healthy." },
  verified: { label: "Verified", tone: "good", explains: "The new version runs, is healthy and was confirmed." },
  rolled_back: { label: "Rolled back", tone: "bad", explains: "The device went back to the version it had before." },
  failed: { label: "Failed", tone: "bad", explains: "The update stopped. The running system was not touched." },
  cancelled: { label: "Cancelled", tone: "neutral", explains: "An operator stopped the update." },
};

const UNKNOWN: StateText = {
  label: "Unknown",
  tone: "neutral",
  explains: "The device is in a state that this page does not know. Update the server.",
};

export function stateText(state: string): StateText {
  return STATES[state] ?? UNKNOWN;
}

const FINAL = new Set(["verified", "rolled_back", "failed", "cancelled"]);
const CANCELLABLE = new Set(["offered", "waiting", "downloading", "installing"]);

/** Whether nothing follows. */
export function isFinal(state: string): boolean {
  return FINAL.has(state);
}

/** Whether stopping it leaves the device untouched. */
export function isCancellable(state: string): boolean {
  return CANCELLABLE.has(state);
}

/** How many devices are in states that `counts`, of those in all states. */
export function sum(states: Record<string, number>, counts: (state: string) => boolean = () => true): number {
  let devices = 0;
  for (const [state, number] of Object.entries(states)) if (counts(state)) devices += number;
  return devices;
}

/** What an operator can do about a reason, by its code. */
const ADVICE: Record<string, string> = {
  signature:
    "Sign the bundle with a key of the device's keyring, or check that it is meant for this fleet. If a certificate seems expired or not yet valid, look at the device's clock first.",
  incompatible: "Choose a bundle that was built for this kind of device.",
  version_too_old: "The device refuses downgrades. Allow them in its configuration if you mean it.",
  truncated: "Upload the bundle again.",
  corrupt: "Upload the bundle again; if it happens on one device only, check its storage and network.",
  bundle_gone: "Upload the bundle again and start a new deployment.",
  disk_full: "Free space on the device's data partition, then deploy again.",
  network: "Check the device's connection, then deploy again: what it has fetched is kept.",
  backend: "Look at the update service's log on the device.",
  busy: "Wait for the update that somebody started on the device, then deploy again.",
  health_check: "Mend the check or the program that it checks, build a new bundle, and deploy that.",
  failed_unit: "Mend the service that failed, build a new bundle, and deploy that.",
  server_unreachable: "Check the new version's network set-up: it ran but could not reach this server.",
  deadline: "Find out what is slow in the new version, or give its checks more time.",
  boot_failed: "Try the new version on a device with a console: it did not boot far enough to be checked.",
  unexpected_slot: "Check the boot order on the device; somebody may have changed it by hand.",
  lease: "Nothing: it goes on when the application on the device lets go.",
};

export function advice(code: string): string | undefined {
  return ADVICE[code];
}

/** One step of the way that every update goes. */
export interface Stage {
  key: string;
  label: string;
  status: "done" | "current" | "failed" | "stopped" | "ahead";
}

const STAGES: [key: string, label: string, states: string[]][] = [
  ["offered", "Offered", ["offered", "waiting"]],
  ["downloading", "Download", ["downloading"]],
  ["installing", "Install", ["installing", "installed"]],
  ["rebooting", "Reboot", ["rebooting"]],
  ["trial", "Trial", ["trial"]],
  ["verified", "Verified", ["verified"]],
];

const stageOf = (state: string) => STAGES.findIndex(([, , states]) => states.includes(state));

/** The stages with how far this update is. A step that was skipped over counts as done: reports can be missed, states cannot. */
export function stages(update: Pick<DeviceUpdate, "state" | "previous">): Stage[] {
  const ended = isFinal(update.state) && update.state !== "verified";
  // A state that ends an update is at no stage: the one before it tells how far the update came.
  const reached = Math.max(stageOf(update.state), stageOf(update.previous ?? ""), 0);
  return STAGES.map(([key, label], index) => ({ key, label, status: status(index) }));

  function status(index: number): Stage["status"] {
    if (index > reached) return "ahead";
    if (index < reached || update.state === "verified") return "done";
    if (!ended) return "current";
    return update.state === "cancelled" ? "stopped" : "failed";
  }
}

/** How far the whole update is, 0 to 1, for a bar that never runs backwards. */
export function overall(update: Pick<DeviceUpdate, "state" | "percent">): number {
  const [from, to] = SPANS[update.state] ?? [0, 0];
  return from + ((to - from) * Math.min(100, update.percent)) / 100;
}

/** Which part of the bar each state covers. Installing takes the longest. */
const SPANS: Record<string, [number, number]> = {
  offered: [0, 0],
  waiting: [0.02, 0.02],
  downloading: [0.02, 0.12],
  installing: [0.12, 0.7],
  installed: [0.7, 0.72],
  rebooting: [0.72, 0.85],
  trial: [0.85, 0.98],
  verified: [1, 1],
  rolled_back: [1, 1],
  failed: [1, 1],
  cancelled: [1, 1],
};

/** How long each entered state lasted, the present one until `nowMs`. */
export function spans(history: StateChange[], nowMs: number): { change: StateChange; lastedMs?: number }[] {
  return history.map((change, index) => {
    const next = history[index + 1];
    if (next) return { change, lastedMs: next.at_ms - change.at_ms };
    if (isFinal(change.state)) return { change };
    return { change, lastedMs: Math.max(0, nowMs - change.at_ms) };
  });
}
