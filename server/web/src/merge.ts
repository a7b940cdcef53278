// What the page knows, and how an event changes it. No I/O: events in, new state out.

import type { Bundle, Deployment, Device, DeviceProgress, DeviceUpdate, Event } from "./api/types";
import { isFinal } from "./update";

export interface Fleet {
  devices: ReadonlyMap<string, Device>;
  bundles: ReadonlyMap<string, Bundle>;
  deployments: ReadonlyMap<number, Deployment>;
}

/** What an event did. */
export interface Merged {
  fleet: Fleet;
  /** A deployment that an event names and that is not known yet: fetch it. */
  unknownDeployment?: number;
}

export const EMPTY: Fleet = { devices: new Map(), bundles: new Map(), deployments: new Map() };

/** The state after `event`. The same object when nothing that it holds changed. */
export function merge(fleet: Fleet, event: Event): Merged {
  switch (event.type) {
    case "device":
      return { fleet: mergeDevice(fleet, event.device) };
    case "device_removed":
      return { fleet: { ...fleet, devices: without(fleet.devices, event.id) } };
    case "bundle":
      return { fleet: { ...fleet, bundles: put(fleet.bundles, event.bundle.id, event.bundle) } };
    case "bundle_removed":
      return { fleet: { ...fleet, bundles: without(fleet.bundles, event.id) } };
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

/** Takes over a deployment from the answer to a call, save what events told meanwhile that is newer. */
export function mergeDeployment(fleet: Fleet, deployment: Deployment): Fleet {
  const known = new Map(fleet.deployments.get(deployment.id)?.devices.map((one) => [one.device, one]));
  const devices = deployment.devices.map((arrived) => {
    const other = known.get(arrived.device);
    return other && arrived.updated_ms <= other.updated_ms ? other : arrived;
  });
  return { ...fleet, deployments: put(fleet.deployments, deployment.id, withDevices(deployment, devices)) };
}

function withDevices(deployment: Deployment, devices: DeviceProgress[]): Deployment {
  return { ...deployment, devices, finished: devices.every(({ state }) => isFinal(state)) };
}

function mergeUpdate(fleet: Fleet, progress: DeviceProgress): Merged {
  let { devices, deployments } = fleet;

  const device = devices.get(progress.device);
  if (device && !isOlder(progress, device.update)) {
    const { device: _device, device_name: _name, ...update } = progress;
    devices = put(devices, device.id, { ...device, update });
  }

  const id = progress.deployment;
  if (id === null || id === undefined) return { fleet: { ...fleet, devices } };
  const deployment = deployments.get(id);
  if (!deployment) return { fleet: { ...fleet, devices }, unknownDeployment: id };
  const known = deployment.devices.some((other) => other.device === progress.device);
  const moved = known
    ? deployment.devices.map((other) =>
        other.device === progress.device && other.updated_ms <= progress.updated_ms ? progress : other,
      )
    : [...deployment.devices, progress];
  deployments = put(deployments, id, withDevices(deployment, moved));
  return { fleet: { ...fleet, devices, deployments } };
}

/** Whether what arrived is about an earlier time than what is known: an old deployment must not hide a newer one. */
function isOlder(arrived: DeviceUpdate, known: DeviceUpdate | null | undefined): boolean {
  if (!known) return false;
  if (arrived.deployment === known.deployment) return arrived.updated_ms < known.updated_ms;
  return arrived.started_ms < known.started_ms;
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
