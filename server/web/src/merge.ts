// What the page knows, and how an event changes it. No I/O: events in, new state out.

import type { Bundle, Deployment, Device, DeviceProgress, DeviceUpdate, Event } from "./api/types";

export interface Fleet {
  devices: ReadonlyMap<string, Device>;
  /** By [`bundleKey`]. */
  bundles: ReadonlyMap<string, Bundle>;
  deployments: ReadonlyMap<number, Deployment>;
}

/** What an event did. */
export interface Merged {
  fleet: Fleet;
  /** A deployment whose devices are to be counted again: one of them entered another state. */
  movedDeployment?: number;
}

export const EMPTY: Fleet = { devices: new Map(), bundles: new Map(), deployments: new Map() };

/** The same bundle may be in several projects. */
export type BundleName = Pick<Bundle, "id" | "project">;

export function bundleKey({ id, project }: BundleName): string {
  return `${id} ${project ?? ""}`;
}

/** The state after `event`. The same object when nothing that it holds changed. */
export function merge(fleet: Fleet, event: Event): Merged {
  switch (event.type) {
    case "device":
      return { fleet: mergeDevice(fleet, event.device) };
    case "device_removed":
      return { fleet: { ...fleet, devices: without(fleet.devices, event.id) } };
    case "bundle":
      return { fleet: { ...fleet, bundles: put(fleet.bundles, bundleKey(event.bundle), event.bundle) } };
    case "bundle_removed":
      return { fleet: withoutBundle(fleet, event) };
    case "deployment":
      return { fleet: mergeDeployment(fleet, event.deployment) };
    case "update":
      return mergeUpdate(fleet, event.update);
    default:
      return { fleet };
  }
}

/** How a device is now, as an event or the answer to a call told. An answer may be older than the events that overtook it. */
function mergeDevice(fleet: Fleet, device: Device): Fleet {
  const known = fleet.devices.get(device.id)?.update;
  const overtaken = known && (!device.update || isOlder(device.update, known));
  return { ...fleet, devices: put(fleet.devices, device.id, overtaken ? { ...device, update: known } : device) };
}

/** How a deployment is now, as an event or the answer to a call told. An answer may be older than what overtook it. */
export function mergeDeployment(fleet: Fleet, deployment: Deployment): Fleet {
  const known = fleet.deployments.get(deployment.id);
  if (known && deployment.updated_ms < known.updated_ms) return fleet;
  return { ...fleet, deployments: put(fleet.deployments, deployment.id, deployment) };
}

/** The state without a bundle of one project. */
export function withoutBundle(fleet: Fleet, bundle: BundleName): Fleet {
  return { ...fleet, bundles: without(fleet.bundles, bundleKey(bundle)) };
}

function mergeUpdate(fleet: Fleet, progress: DeviceProgress): Merged {
  const device = fleet.devices.get(progress.device);
  const known = device?.update;
  let { devices } = fleet;
  if (device && !isOlder(progress, known)) {
    const { device: _device, device_name: _name, ...update } = progress;
    devices = put(devices, device.id, { ...device, update });
  }
  const merged: Merged = { fleet: { ...fleet, devices } };
  const id = progress.deployment;
  const stays = known?.deployment === id && known?.state === progress.state;
  if (id != null && !(stays && fleet.deployments.has(id))) merged.movedDeployment = id;
  return merged;
}

/** Devices of a deployment: what was fetched, and what events told since. An answer may be older than they are. If not all pages were fetched,
 * a device that is on none of them comes with its page. */
export function withNews(
  fetched: DeviceProgress[],
  news: ReadonlyMap<number, DeviceProgress>,
  complete: boolean,
): DeviceProgress[] {
  const rows = new Map(fetched.map((row) => [row.id, row]));
  for (const [id, told] of news) {
    const known = rows.get(id);
    if (known ? !isOlder(told, known) : complete) rows.set(id, told);
  }
  return [...rows.values()];
}

/** Whether what arrived is about an earlier time than what is known: an old deployment must not hide a newer one. */
function isOlder(arrived: DeviceUpdate, known: DeviceUpdate | null | undefined): boolean {
  if (!known) return false;
  return arrived.id === known.id ? arrived.steps < known.steps : arrived.id < known.id;
}

function put<K, V>(map: ReadonlyMap<K, V>, key: K, value: V): ReadonlyMap<K, V> {
  return new Map(map).set(key, value);
}

function without<K, V>(map: ReadonlyMap<K, V>, key: K): ReadonlyMap<K, V> {
  if (!map.has(key)) return map;
  const copy = new Map(map);
  copy.delete(key);
  return copy;
}
