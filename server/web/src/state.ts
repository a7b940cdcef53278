// What the page knows, kept current by the server's events.

import { computed, signal } from "@preact/signals";
import { ApiError, api, EVENTS_URL, whenSessionEnds } from "./api/client";
import type {
  Bundle,
  CommandRun,
  Deployment,
  Device,
  DeviceProgress,
  Event,
  Grant,
  Group,
  Page,
  Permission,
  Project,
  Series,
  User,
} from "./api/types";
import { bundleKey, EMPTY, type Fleet, merge, mergeDeployment, withoutBundle } from "./merge";
import { route } from "./route";
import { named, parse } from "./text";
import { stateText } from "./update";

export type Login = { state: "unknown" } | { state: "out"; expired: boolean } | { state: "in"; user: User };

export const login = signal<Login>({ state: "unknown" });
export const fleet = signal<Fleet>(EMPTY);
export const groups = signal<Group[]>([]);
/** Those that the user may see; none in a fleet that is not divided. */
export const projects = signal<Project[]>([]);
/** What to ask for to get deployments that are older than those that are known, if there are any. */
export const olderDeployments = signal<string | null | undefined>(undefined);
/** Whether everything was fetched once. */
export const loaded = signal(false);
export const loadError = signal<string | undefined>(undefined);
/** `offline` only after the connection was lost: a first connection in the making is no news. */
export const connection = signal<"connecting" | "live" | "offline">("connecting");
/** What keeps the server from taking all that it should, as `health` calls it; `ok` if nothing does. */
export const serverStatus = signal("ok");
/** Counts the times that everything was fetched again, for pages that hold more than the fleet. */
export const resyncs = signal(0);
/** Read aloud by screen readers. */
export const announcement = signal("");

export const devices = computed(() =>
  [...fleet.value.devices.values()].sort((a, b) => a.name.localeCompare(b.name) || a.id.localeCompare(b.id)),
);
export const bundles = computed(() => [...fleet.value.bundles.values()].sort((a, b) => b.created_ms - a.created_ms));
/** A bundle, whichever of its projects the user sees. */
export function bundleOf(id: string): Bundle | undefined {
  return bundles.value.find((bundle) => bundle.id === id);
}
export const deployments = computed(() => [...fleet.value.deployments.values()].sort((a, b) => b.id - a.id));

const CLOCK_STEP_MS = 1000;
export const now = signal(Date.now());
setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, CLOCK_STEP_MS);

const HEALTH_STEP_MS = 30_000;
setInterval(() => {
  if (!document.hidden && connection.value === "live") void lookAtServer();
}, HEALTH_STEP_MS);

async function lookAtServer(): Promise<void> {
  try {
    serverStatus.value = (await api.health()).status;
  } catch {
    // Not reached, or a proxy's answer: the connection tells.
  }
}

// --- session ---

export async function resume(): Promise<void> {
  try {
    enter(await api.session());
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      login.value = { state: "out", expired: false };
      return;
    }
    loadError.value = error instanceof Error ? error.message : String(error);
    setTimeout(resume, RETRY_MAX_MS / 4);
  }
}

export function enter(user: User): void {
  loadError.value = undefined;
  takeRights(user);
  openEvents();
}

/** Takes over who is logged in, and with which rights. If they changed, what the page knows may be hidden from now on. */
function takeRights(user: User): void {
  const before = login.value;
  if (before.state === "in" && JSON.stringify(before.user) === JSON.stringify(user)) return;
  forget();
  if (before.state === "in") announcement.value = "Your roles have changed.";
  login.value = { state: "in", user };
}

/** Whether the user may do this anywhere. What is allowed somewhere may still be refused elsewhere: then the server's answer says why. */
export function may(permission: Permission): boolean {
  return login.value.state === "in" && login.value.user.permissions.includes(permission);
}

export function ownName(): string {
  return login.value.state === "in" ? login.value.user.name : "";
}

/** The user's own roles. */
export function ownGrants(): Grant[] {
  return login.value.state === "in" ? login.value.user.grants : [];
}

export async function logout(): Promise<void> {
  await api.logout();
  leave(false);
}

function leave(expired: boolean): void {
  closeEvents();
  forget();
  login.value = { state: "out", expired };
}

function forget(): void {
  // An answer on its way belongs to the rights of before.
  during = undefined;
  fleet.value = EMPTY;
  groups.value = [];
  projects.value = [];
  olderDeployments.value = undefined;
  loaded.value = false;
  loadError.value = undefined;
}

whenSessionEnds(() => {
  if (login.value.state === "in") leave(true);
});

// --- events ---

const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 20_000;

let source: EventSource | undefined;
let retry: ReturnType<typeof setTimeout> | undefined;
let attempts = 0;
/** Events that arrive while everything is fetched: what was fetched may be older than they are. */
let during: Event[] | undefined;

const updateListeners = new Set<(update: DeviceProgress) => void>();
const runListeners = new Set<(run: CommandRun) => void>();
const telemetryListeners = new Set<(device: string, series: Series[]) => void>();

/** Calls `listener` with samples as they arrive, until the function that it returns is called. */
export function onTelemetry(listener: (device: string, series: Series[]) => void): () => void {
  telemetryListeners.add(listener);
  return () => telemetryListeners.delete(listener);
}

/** Calls `listener` with updates as they move, until the function that it returns is called. */
export function onUpdate(listener: (update: DeviceProgress) => void): () => void {
  updateListeners.add(listener);
  return () => updateListeners.delete(listener);
}

/** Calls `listener` with runs of commands as they change, until the function that it returns is called. */
export function onRun(listener: (run: CommandRun) => void): () => void {
  runListeners.add(listener);
  return () => runListeners.delete(listener);
}

function openEvents(): void {
  closeEvents();
  const opened = new EventSource(EVENTS_URL);
  source = opened;
  opened.onopen = () => {
    attempts = 0;
    connection.value = "live";
    void catchUp(opened);
    void lookAtServer();
  };
  opened.onmessage = (message: MessageEvent<string>) => receive(parse<Event>(message.data));
  opened.onerror = () => {
    // The browser's own retries are fixed and endless, and say nothing of an expired session: ours replace them.
    opened.close();
    // The server ends the stream when the user's rights change: only a try that fails as well means that it is gone.
    connection.value = connection.value === "live" ? "connecting" : "offline";
    const longest = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** attempts);
    attempts += 1;
    retry = setTimeout(reconnect, longest * (0.5 + Math.random() / 2));
  };
}

/** Fetches what a new stream of events will not tell. */
async function catchUp(opened: EventSource): Promise<void> {
  try {
    // Asked after the stream began: a change of the rights from then on ends it.
    const user = await api.session();
    if (source === opened) takeRights(user);
  } catch {
    // The session or the connection has ended, of which others tell.
  }
  if (source === opened) await refetch();
}

/** Tries now rather than when the timer says. */
export function reconnect(): void {
  clearTimeout(retry);
  if (login.value.state !== "in") return;
  // Answers 401 when the session has ended, which an EventSource would not tell.
  api.session().then(
    (user) => {
      if (login.value.state !== "in") return;
      takeRights(user);
      openEvents();
    },
    (error: unknown) => {
      if (error instanceof ApiError && error.status === 401) {
        leave(true);
        return;
      }
      connection.value = "offline";
      const longest = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** attempts);
      attempts += 1;
      retry = setTimeout(reconnect, longest * (0.5 + Math.random() / 2));
    },
  );
}

function closeEvents(): void {
  clearTimeout(retry);
  source?.close();
  source = undefined;
}

export function receive(event: Event): void {
  if (event.type === "resync") {
    void refetch();
    return;
  }
  if (event.type === "telemetry") {
    for (const listener of telemetryListeners) listener(event.device, event.series);
    return;
  }
  if (event.type === "command") {
    for (const listener of runListeners) listener(event.run);
    return;
  }
  during?.push(event);
  if (event.type === "update") {
    announce(event.update);
    for (const listener of updateListeners) listener(event.update);
  }
  apply(event);
}

function apply(event: Event): void {
  const merged = merge(fleet.value, event);
  fleet.value = merged.fleet;
  if (merged.movedDeployment !== undefined) recount(merged.movedDeployment);
}

/** How long news of a deployment are gathered before its devices are counted again. */
const RECOUNT_MS = 500;
const recounting = new Set<number>();

function recount(id: number): void {
  if (recounting.has(id)) return;
  recounting.add(id);
  setTimeout(() => {
    recounting.delete(id);
    if (login.value.state === "in") void fetchDeployment(id);
  }, RECOUNT_MS);
}

/** Says a new state aloud, of those updates that the present page is about: a whole fleet's would never end. */
function announce(update: DeviceProgress): void {
  const at = route.value;
  const shown =
    (at.page === "device" && at.id === update.device) || (at.page === "deployment" && at.id === update.deployment);
  if (!shown) return;
  const before = fleet.value.devices.get(update.device)?.update?.state;
  if (before !== update.state) announcement.value = `${named(update.device_name)}: ${stateText(update.state).label}`;
}

async function fetchDeployment(id: number): Promise<void> {
  try {
    keepDeployment(await api.deployment(id));
  } catch {
    // Deleted meanwhile, or offline: the next fetch of everything brings the truth.
  }
}

/** Fetches everything that the page shows and the user may see. */
export async function refetch(): Promise<void> {
  const held: Event[] = [];
  during = held;
  try {
    const [devices, bundles, deployments, allGroups, allProjects] = await Promise.all([
      may("device.read") ? api.devices() : [],
      may("bundle.read") ? api.bundles() : [],
      may("deployment.read") ? newestDeployments(fleet.value.deployments.size) : { items: [], next: null },
      may("group.read") ? api.groups() : [],
      may("project.read") ? api.projects() : [],
    ]);
    // Asked again meanwhile, or the rights changed.
    if (during !== held) return;
    fleet.value = {
      devices: new Map(devices.map((device) => [device.id, device])),
      bundles: new Map(bundles.map((bundle) => [bundleKey(bundle), bundle])),
      deployments: new Map(deployments.items.map((deployment) => [deployment.id, deployment])),
    };
    olderDeployments.value = deployments.next;
    groups.value = allGroups;
    projects.value = allProjects;
    loaded.value = true;
    loadError.value = undefined;
    during = undefined;
    for (const event of held) apply(event);
    resyncs.value += 1;
  } catch (error) {
    if (during !== held) return;
    during = undefined;
    loadError.value = error instanceof Error ? error.message : String(error);
  }
}

/** At least as many deployments as the page has shown, if there are. */
async function newestDeployments(shown: number): Promise<Page<Deployment>> {
  const all = await api.deployments();
  while (all.next && all.items.length < shown) {
    const more = await api.deployments(all.next);
    all.items.push(...more.items);
    all.next = more.next ?? null;
  }
  return all;
}

/** Fetches deployments that are older than those that are known. */
export async function fetchOlderDeployments(): Promise<void> {
  const more = await api.deployments(olderDeployments.value);
  for (const deployment of more.items) keepDeployment(deployment);
  olderDeployments.value = more.next;
}

/** Fetches the groups again, and the device whose membership changed. */
export async function refetchGroups(device?: string): Promise<void> {
  groups.value = await api.groups();
  if (device) keep(await api.device(device));
}

/** Fetches the projects again, whose devices are counted. */
export async function refetchProjects(): Promise<void> {
  projects.value = await api.projects();
}

/** Takes over how a device is now, as the answer to a call told. */
export function keep(device: Device): void {
  fleet.value = merge(fleet.value, { type: "device", device }).fleet;
}

/** Takes over how a deployment is now. */
export function keepDeployment(deployment: Deployment): void {
  fleet.value = mergeDeployment(fleet.value, deployment);
}

export function forgetDevice(id: string): void {
  fleet.value = merge(fleet.value, { type: "device_removed", id }).fleet;
}

export function keepBundle(bundle: Bundle): void {
  fleet.value = merge(fleet.value, { type: "bundle", bundle }).fleet;
}

export function forgetBundle(bundle: Bundle): void {
  fleet.value = withoutBundle(fleet.value, bundle);
}
