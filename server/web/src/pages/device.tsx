// One device: what it is, how it does, what it went through, and what can be done with it.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { holdsFor } from "../access";
import { api } from "../api/client";
import type { Device, DeviceSlot, DeviceUpdate } from "../api/types";
import { date, duration } from "../format";
import { go, links } from "../route";
import {
  fleet,
  forgetDevice,
  keep,
  may,
  now,
  ownGrants,
  projects,
  refetchGroups,
  refetchProjects,
  resyncs,
} from "../state";
import { named } from "../text";
import { Button, CopyButton, ErrorNote, say, useTask } from "../ui/action";
import { Ago, Badge, Empty, Facts, Head, Time, Unfold } from "../ui/bits";
import { ask, Dialog } from "../ui/dialog";
import { Icon } from "../ui/icon";
import { More, usePages } from "../ui/pages";
import { History, StateBadge, UpdateDetail } from "../ui/progress";
import { chosenProject, ProjectField, ProjectTag } from "../ui/project";
import { isCancellable, isFinal } from "../update";
import { Console } from "./console";
import { askCancel, DeployDialog } from "./deploy";
import { OnlineDot } from "./devices";
import { DeviceGroups } from "./groups";
import { PairingDialog } from "./pairing";
import { Telemetry } from "./telemetry";

/** A certificate that ends sooner than this is pointed out. Agents renew at two thirds of the lifetime. */
const EXPIRES_SOON_MS = 30 * 86_400_000;

export function DevicePage({ id }: { id: string }) {
  const device = fleet.value.devices.get(id);
  if (!device) {
    return (
      <Empty page icon="devices" title="There is no such device">
        <p class="muted">It may have been deleted, or your roles do not include it any more.</p>
        <p>
          <a href={links.devices}>Back to the devices</a>
        </p>
      </Empty>
    );
  }
  return <Shown device={device} />;
}

function Shown({ device }: { device: Device }) {
  const open = useSignal<"deploy" | "rename" | "pair" | "move" | undefined>(undefined);
  const close = () => (open.value = undefined);
  const update = device.update;
  return (
    <>
      <Head
        title={device.name || device.id}
        above={
          <a class="back" href={links.devices}>
            Devices
          </a>
        }
        below={<Presence device={device} />}
      >
        {may("device.change") && (
          <Button icon="edit" onClick={() => (open.value = "rename")}>
            Rename
          </Button>
        )}
        {may("deployment.create") && (
          <Button
            icon="deployments"
            kind="primary"
            disabled={device.revoked || (!!update && !isFinal(update.state))}
            onClick={() => (open.value = "deploy")}
          >
            Deploy
          </Button>
        )}
      </Head>
      <DeviceGroups device={device} />

      {device.revoked && (
        <div class="note bad" role="status">
          <Icon name="ban" />
          <p>This device's certificate is revoked: it cannot connect until it is paired again.</p>
          {may("pairing.change") && <Button onClick={() => (open.value = "pair")}>Pair again</Button>}
        </div>
      )}

      {update && !isFinal(update.state) && <Running update={update} />}

      <div class="columns">
        <div class="column wide">
          <Slots device={device} />
          {may("telemetry.read") && <Telemetry device={device.id} />}
          {may("command.read") && holdsFor(device, "operator", ownGrants()) && <Console device={device} />}
          <Updates device={device} />
        </div>
        <div class="column">
          <Software device={device} />
          <Identity device={device} />
          <Danger device={device} onPair={() => (open.value = "pair")} onMove={() => (open.value = "move")} />
        </div>
      </div>

      {open.value === "deploy" && <DeployDialog device={device} onClose={close} />}
      {open.value === "rename" && <RenameDialog device={device} onClose={close} />}
      {open.value === "move" && <MoveDialog device={device} onClose={close} />}
      {open.value === "pair" && <PairingDialog again={device} onClose={close} />}
    </>
  );
}

function Presence({ device }: { device: Device }) {
  return (
    <p class="presence muted">
      <OnlineDot device={device} />
      {device.online ? (
        <span>online{device.address && ` from ${device.address}`}</span>
      ) : device.last_seen_ms ? (
        <span>
          last seen <Ago at={device.last_seen_ms} />
        </span>
      ) : (
        <span>never connected</span>
      )}
      <ProjectTag project={device.project} />
    </p>
  );
}

function Running({ update }: { update: DeviceUpdate }) {
  return (
    <section class="card running" aria-label="Update that runs">
      <header class="card-head">
        <h2>
          Updating to <span class="version">{update.version}</span>
        </h2>
        {update.deployment != null && (
          <div class="actions">
            <a class="button small" href={links.deployment(update.deployment)}>
              Deployment #{update.deployment}
            </a>
            {isCancellable(update.state) && may("deployment.cancel") && (
              <button
                type="button"
                class="button small"
                onClick={() => askCancel(update.deployment ?? 0, { [update.state]: 1 })}
              >
                Cancel
              </button>
            )}
          </div>
        )}
      </header>
      <UpdateDetail update={update} />
    </section>
  );
}

// --- slots ---

function Slots({ device }: { device: Device }) {
  const bootable = device.slots.filter((slot) => slot.bootname);
  const others = device.slots.filter((slot) => !slot.bootname);
  return (
    <section class="card">
      <header class="card-head">
        <h2>Slots</h2>
        {device.updater && <span class="muted">{device.updater}</span>}
      </header>
      {device.slots.length === 0 ? (
        <p class="muted">
          The device has not told of any slots. It does once it connects, if an update service runs on it.
        </p>
      ) : (
        <ul class="slots">
          {bootable.map((slot) => (
            <Slot key={slot.name} slot={slot} />
          ))}
        </ul>
      )}
      {others.length > 0 && (
        <ul class="slots-other">
          {others.map((slot) => (
            <li key={slot.name}>
              <code>{slot.name}</code> <span class="version">{slot.version || "empty"}</span>{" "}
              <span class="muted">{slot.state}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Slot({ slot }: { slot: DeviceSlot }) {
  const booted = slot.state === "booted";
  const installed = Date.parse(slot.installed_at);
  return (
    <li class={`slot ${booted ? "booted" : ""} ${slot.boot_status === "bad" ? "bad" : ""}`}>
      <span class="slot-letter" aria-hidden="true">
        {slot.bootname}
      </span>
      <div class="slot-text">
        <p class="slot-title">
          <span class="hidden">Slot {slot.bootname}: </span>
          <span class="version">{slot.version || "version not known"}</span>
        </p>
        <p class="slot-badges">
          {booted ? <Badge tone="active">Running</Badge> : <Badge tone="neutral">Standby</Badge>}
          {slot.boot_status === "good" && <Badge tone="good">Good</Badge>}
          {slot.boot_status === "bad" && <Badge tone="bad">Bad</Badge>}
        </p>
        <p class="muted small">
          <code>{slot.name}</code>
          {!Number.isNaN(installed) && <> · installed {date(installed)}</>}
        </p>
      </div>
    </li>
  );
}

// --- facts ---

function Software({ device }: { device: Device }) {
  return (
    <section class="card">
      <h2>Software</h2>
      <Facts
        facts={[
          ["Version", device.os_version && <span class="version">{device.os_version}</span>],
          ["System", device.os],
          ["Kernel", [device.kernel, device.architecture].filter(Boolean).join(" · ")],
          ["Agent", device.agent_version],
          ["Updater", device.updater],
          ["Compatible", device.compatible],
        ]}
      />
    </section>
  );
}

function Identity({ device }: { device: Device }) {
  const left = device.certificate_expires_ms - now.value;
  return (
    <section class="card">
      <h2>Identity</h2>
      <Facts
        facts={[
          [
            "Device id",
            <span key="id" class="copyable">
              <code>{device.id}</code>
              <CopyButton text={device.id} what="the device id" />
            </span>,
          ],
          ["Serial", device.serial],
          ["Model", device.model],
          ["Host name", device.hostname],
          ["Paired", date(device.paired_ms)],
          [
            "Certificate",
            <span key="certificate">
              {left <= 0 ? (
                <Badge tone="bad">expired {date(device.certificate_expires_ms)}</Badge>
              ) : (
                <>
                  until {date(device.certificate_expires_ms)}{" "}
                  {left < EXPIRES_SOON_MS && <Badge tone="warn">{duration(left)} left</Badge>}
                </>
              )}
              <details class="fingerprint">
                <summary>SHA-256</summary>
                <code class="wrap">{device.certificate_sha256}</code>
              </details>
            </span>,
          ],
        ]}
      />
    </section>
  );
}

interface DangerProps {
  device: Device;
  onPair: () => void;
  onMove: () => void;
}

function Danger({ device, onPair, onMove }: DangerProps) {
  const moves = may("device.move") && projects.value.length > 0;
  if (!moves && !may("pairing.change") && !may("device.revoke") && !may("device.delete")) return null;
  const revoke = () =>
    ask({
      title: `Revoke ${named(device.name)}?`,
      body: (
        <>
          <p>
            Its certificate stops working and its connection drops at once. It cannot report, be updated or fetch
            bundles any more.
          </p>
          <p class="muted">To get it back you need access to the device: it has to be paired again.</p>
        </>
      ),
      confirm: "Revoke certificate",
      act: async () => {
        keep(await api.revokeDevice(device.id));
        say("good", `${named(device.name)} is revoked.`);
      },
    });
  const remove = () =>
    ask({
      title: `Delete ${named(device.name)}?`,
      body: (
        <>
          <p>The device is revoked, and its telemetry, update history and groups are deleted for good.</p>
          <p class="muted">It has to be paired as a new device to come back.</p>
        </>
      ),
      confirm: "Delete device",
      act: async () => {
        await api.deleteDevice(device.id);
        go(links.devices);
        forgetDevice(device.id);
        say("good", `${named(device.name)} is deleted.`);
      },
    });
  return (
    <section class="card">
      <h2>Access</h2>
      <div class="stack">
        {moves && (
          <Button icon="projects" onClick={onMove}>
            Move
          </Button>
        )}
        {may("pairing.change") && (
          <Button icon="link" onClick={onPair}>
            Pair again
          </Button>
        )}
        {may("device.revoke") && (
          <Button icon="ban" kind="danger" disabled={device.revoked} onClick={revoke}>
            Revoke
          </Button>
        )}
        {may("device.delete") && (
          <Button icon="trash" kind="danger" onClick={remove}>
            Delete
          </Button>
        )}
      </div>
    </section>
  );
}

function RenameDialog({ device, onClose }: { device: Device; onClose: () => void }) {
  const { busy, error, run } = useTask();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget as HTMLFormElement).get("name")).trim();
    void run(async () => {
      keep(await api.renameDevice(device.id, name));
      onClose();
    });
  };
  return (
    <Dialog title="Rename device" onClose={onClose}>
      <form class="dialog-body" onSubmit={submit}>
        <label class="field">
          <span>Name</span>
          <input name="name" defaultValue={device.name} required maxLength={128} autocomplete="off" autofocus />
        </label>
        <ErrorNote text={error.value} />
        <div class="form-foot">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="primary" busy={busy.value}>
            Rename
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function MoveDialog({ device, onClose }: { device: Device; onClose: () => void }) {
  const { busy, error, run } = useTask();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const project = chosenProject(new FormData(event.currentTarget as HTMLFormElement));
    void run(async () => {
      keep(await api.moveDevice(device.id, project));
      onClose();
      await Promise.all([refetchGroups(), refetchProjects()]);
    });
  };
  return (
    <Dialog title={`Move ${named(device.name)}`} onClose={onClose}>
      <form class="dialog-body" onSubmit={submit}>
        <ProjectField none="none" value={device.project} />
        <p class="muted small">
          It leaves groups of other projects. Its history moves with it: whoever sees the new project sees it too.
        </p>
        <ErrorNote text={error.value} />
        <div class="form-foot">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="primary" busy={busy.value}>
            Move
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

// --- history ---

function Updates({ device }: { device: Device }) {
  // Every change of the present update is a new row or a new state of one.
  const moved = `${device.update?.id} ${device.update?.steps}`;
  const pages = usePages<DeviceUpdate>((after) => api.updates(device.id, after), [device.id, moved, resyncs.value]);
  const updates = pages.items.value ?? [];
  return (
    <section class="card">
      <h2>Update history</h2>
      <ErrorNote text={pages.error.value} />
      {pages.items.value?.length === 0 && <p class="muted">No update yet.</p>}
      <ul class="past">
        {updates.map((update) => (
          <Past key={update.id} device={device.id} update={update} />
        ))}
      </ul>
      <More more={pages.more.value} busy={pages.busy.value} label="Show older" onMore={pages.loadMore} />
    </section>
  );
}

function Past({ device, update }: { device: string; update: DeviceUpdate }) {
  let source: ComponentChildren = "at the device";
  if (update.deployment != null) source = <a href={links.deployment(update.deployment)}>#{update.deployment}</a>;
  return (
    <li>
      <Unfold
        summary={
          <>
            <StateBadge state={update.state} />
            <span class="version">{update.version || "version not known"}</span>
            {update.origin === "local" && <Badge tone="neutral">by hand at the device</Badge>}
            <span class="muted past-when">
              <Time at={update.started_ms} />
            </span>
            <Icon name="chevron" />
          </>
        }
      >
        {() => (
          <>
            <p class="muted">
              Came from: {source}, took {duration(update.updated_ms - update.started_ms)}
            </p>
            <History device={device} update={update} />
          </>
        )}
      </Unfold>
      {update.reason && update.state !== "verified" && <p class="muted past-reason">{update.reason.detail}</p>}
    </li>
  );
}
