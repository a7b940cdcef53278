// Starting and stopping deployments.

import { useSignal } from "@preact/signals";
import { isWithin } from "../access";
import { api } from "../api/client";
import type { Bundle, Deployment, Device, Target } from "../api/types";
import { bytes, count, date, shortHash } from "../format";
import { go, links } from "../route";
import { bundles, devices, groups, keepDeployment } from "../state";
import { named } from "../text";
import { Button, ErrorNote, say, useTask } from "../ui/action";
import { ask, Dialog } from "../ui/dialog";
import { isCancellable, sum } from "../update";

interface DeployProps {
  /** Only this device. */
  device?: Device;
  /** Only this bundle. */
  bundle?: Bundle;
  onClose: () => void;
}

export function DeployDialog({ device, bundle, onClose }: DeployProps) {
  const { busy, error, run } = useTask();
  const chosen = useSignal(bundle?.id ?? "");
  const target = useSignal(device ? `device:${device.id}` : "");
  const picked = bundles.value.find(({ id }) => id === chosen.value);
  const mismatches = picked ? reached(target.value).filter((one) => differs(one, picked)) : [];

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    void run(async () => {
      const deployment = await api.createDeployment({ bundle: chosen.value, target: parseTarget(target.value) });
      keepDeployment(deployment);
      onClose();
      go(links.deployment(deployment.id));
    });
  };

  // The same bundle may be in several projects.
  const offered = bundles.value.filter(
    ({ id }, index, all) => all.findIndex((one) => one.id === id) === index && (!device || isFor(device.project, id)),
  );
  const fits = (project: string | null | undefined) => !picked || isFor(project, picked.id);
  if (offered.length === 0) {
    return (
      <Dialog title="Deploy" onClose={onClose}>
        <div class="dialog-body">
          <p>There is no bundle {device?.project && `for ${device.project} `}yet. One has to be uploaded first.</p>
          <div class="form-foot">
            <a class="button primary" href={links.bundles} onClick={onClose}>
              Go to the bundles
            </a>
          </div>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title={device ? `Deploy to ${named(device.name)}` : "New deployment"} onClose={onClose}>
      <form class="dialog-body" onSubmit={submit}>
        {!bundle && (
          <fieldset class="choices">
            <legend>Bundle</legend>
            {offered.map((one) => (
              <label key={one.id} class="choice">
                <input
                  type="radio"
                  name="bundle"
                  value={one.id}
                  required
                  checked={chosen.value === one.id}
                  onChange={() => (chosen.value = one.id)}
                />
                <span>
                  <strong class="version">{one.version}</strong>
                  <span class="muted small">
                    <bdi>{one.compatible}</bdi> · {bytes(one.size)} · {date(one.created_ms)} · {shortHash(one.id)}
                  </span>
                </span>
              </label>
            ))}
          </fieldset>
        )}
        {!device && (
          <label class="field">
            <span>To</span>
            <select required value={target.value} onChange={(event) => (target.value = event.currentTarget.value)}>
              <option value="">Choose a device or group</option>
              {groups.value.length > 0 && (
                <optgroup label="Groups">
                  {groups.value.map((group) => (
                    <option
                      key={group.name}
                      value={`group:${group.name}`}
                      disabled={group.devices === 0 || !fits(group.project)}
                    >
                      {`${group.name} (${count(group.devices, "device")})`}
                    </option>
                  ))}
                </optgroup>
              )}
              <optgroup label="Devices">
                {devices.value.map((one) => (
                  <option key={one.id} value={`device:${one.id}`} disabled={one.revoked || !fits(one.project)}>
                    {one.name}
                  </option>
                ))}
              </optgroup>
            </select>
          </label>
        )}
        {mismatches.length > 0 && picked && (
          <p class="note warn">
            This bundle is for “{named(picked.compatible)}”.{" "}
            {device
              ? `This device is “${named(device.compatible)}” and will refuse it.`
              : `${count(mismatches.length, "device")} of another kind will refuse it.`}
          </p>
        )}
        <p class="muted small">
          The device checks the bundle's signature itself, installs beside the running system, restarts, and confirms
          only when it is healthy. Otherwise it goes back by itself.
        </p>
        <ErrorNote text={error.value} />
        <div class="form-foot">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="primary" icon="deployments" busy={busy.value}>
            Deploy
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function parseTarget(value: string): Target {
  const [kind, ...rest] = value.split(":");
  const name = rest.join(":");
  return kind === "group" ? { group: name } : { device: name };
}

function reached(value: string): Device[] {
  if (!value) return [];
  const target = parseTarget(value);
  return devices.value.filter((device) =>
    "group" in target ? device.groups.includes(target.group) : device.id === target.device,
  );
}

/** Whether a project's devices may get a bundle. */
function isFor(project: string | null | undefined, bundle: string): boolean {
  return bundles.value.some((one) => one.id === bundle && isWithin(project, one.project));
}

function differs(device: Device, bundle: Bundle): boolean {
  return device.compatible !== "" && device.compatible !== bundle.compatible;
}

export function targetText({ target, device_name }: Pick<Deployment, "target" | "device_name">): string {
  if ("group" in target) return `group ${target.group}`;
  return named(devices.value.find(({ id }) => id === target.device)?.name ?? device_name ?? target.device);
}

/** Asks, then stops what can still be stopped. `states` counts the devices in each state. */
export function askCancel(deployment: number, states: Deployment["states"]): void {
  const stoppable = sum(states, isCancellable);
  ask({
    title: `Cancel deployment #${deployment}?`,
    body: (
      <>
        <p>{count(stoppable, "device")} will stop; the running system there stays as it is.</p>
        {stoppable < sum(states) && (
          <p class="muted">Devices that have already installed it go on: their next boot tries the new version.</p>
        )}
      </>
    ),
    confirm: "Cancel deployment",
    act: async () => {
      keepDeployment(await api.cancelDeployment(deployment));
      say("good", `Deployment #${deployment} is cancelled.`);
    },
  });
}
