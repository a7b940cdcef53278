// Every device, live.

import { useSignal } from "@preact/signals";
import { isWithin } from "../access";
import type { Device } from "../api/types";
import { count } from "../format";
import { links } from "../route";
import { devices, groups, may, projects } from "../state";
import { Button } from "../ui/action";
import { Ago, Badge, Empty, Head } from "../ui/bits";
import { Icon } from "../ui/icon";
import { UpdateBrief } from "../ui/progress";
import { ProjectTag } from "../ui/project";
import { isFinal, stateText } from "../update";
import { GroupsDialog } from "./groups";
import { PairingDialog } from "./pairing";

/** Rows drawn before "show more": a list of thousands stays quick. */
const PAGE = 200;

const FILTERS: { key: string; label: string; keeps: (device: Device) => boolean }[] = [
  { key: "all", label: "All", keeps: () => true },
  { key: "online", label: "Online", keeps: (device) => device.online },
  { key: "offline", label: "Offline", keeps: (device) => !device.online },
  { key: "updating", label: "Updating", keeps: (device) => !!device.update && !isFinal(device.update.state) },
  { key: "attention", label: "Needs attention", keeps: needsAttention },
];

function needsAttention(device: Device): boolean {
  return (
    device.revoked ||
    (!!device.update && stateText(device.update.state).tone === "bad") ||
    device.slots.some((slot) => slot.boot_status === "bad")
  );
}

function matches(device: Device, search: string): boolean {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const { name, id, serial, model, hostname, os_version, address, project } = device;
  const text = [name, id, serial, model, hostname, os_version, address, project].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

export function Devices() {
  const search = useSignal("");
  const filter = useSignal("all");
  const group = useSignal("");
  const project = useSignal("");
  const limit = useSignal(PAGE);
  const open = useSignal<"pairing" | "groups" | undefined>(undefined);

  const all = devices.value;
  const within = all.filter(
    (device) =>
      matches(device, search.value) &&
      isWithin(device.project, project.value) &&
      (!group.value || device.groups.includes(group.value)),
  );
  const keeps = FILTERS.find(({ key }) => key === filter.value)?.keeps ?? (() => true);
  const shown = within.filter(keeps);
  const online = all.filter((device) => device.online).length;

  return (
    <>
      <Head
        title="Devices"
        below={
          all.length > 0 && (
            <p class="muted">
              {count(all.length, "device")}, {online} online
            </p>
          )
        }
      >
        {projects.value.length > 0 && (
          <a class="button" href={links.projects}>
            <Icon name="projects" />
            <span>Projects</span>
          </a>
        )}
        {all.length > 0 && may("group.change") && (
          <Button icon="tag" onClick={() => (open.value = "groups")}>
            Groups
          </Button>
        )}
        {may("pairing.change") && (
          <Button icon="plus" kind="primary" onClick={() => (open.value = "pairing")}>
            Pair a device
          </Button>
        )}
      </Head>

      {all.length === 0 ? (
        <FirstDevice onPair={() => (open.value = "pairing")} />
      ) : (
        <>
          <div class="tools">
            <label class="search">
              <span class="hidden">Search devices</span>
              <Icon name="search" />
              <input
                type="search"
                placeholder="Name, serial, model, version…"
                value={search.value}
                onInput={(event) => (search.value = event.currentTarget.value)}
              />
            </label>
            {projects.value.length > 0 && (
              <label class="pick">
                <span class="hidden">Project</span>
                <select value={project.value} onChange={(event) => (project.value = event.currentTarget.value)}>
                  <option value="">All projects</option>
                  {projects.value.map(({ path }) => (
                    <option key={path} value={path}>
                      {path}
                    </option>
                  ))}
                </select>
              </label>
            )}
            {groups.value.length > 0 && (
              <label class="pick">
                <span class="hidden">Group</span>
                <select value={group.value} onChange={(event) => (group.value = event.currentTarget.value)}>
                  <option value="">All groups</option>
                  {groups.value.map(({ name }) => (
                    <option key={name} value={name}>
                      {name}
                    </option>
                  ))}
                </select>
              </label>
            )}
            <fieldset class="chips">
              <legend class="hidden">Show</legend>
              {FILTERS.map(({ key, label, keeps: kept }) => (
                <button
                  key={key}
                  type="button"
                  class="chip"
                  aria-pressed={filter.value === key}
                  onClick={() => (filter.value = key)}
                >
                  {label} <span class="chip-count">{within.filter(kept).length}</span>
                </button>
              ))}
            </fieldset>
          </div>
          {shown.length === 0 ? (
            <Empty icon="search" title="No device matches">
              <Button
                onClick={() => {
                  search.value = "";
                  group.value = "";
                  project.value = "";
                  filter.value = "all";
                }}
              >
                Show all
              </Button>
            </Empty>
          ) : (
            <div class="card flush">
              <div class="row-head device-cols" aria-hidden="true">
                <span>Device</span>
                <span>Version</span>
                <span>Last update</span>
                <span>Last seen</span>
              </div>
              <ul class="rows" aria-label="Devices">
                {shown.slice(0, limit.value).map((device) => (
                  <DeviceRow key={device.id} device={device} />
                ))}
              </ul>
            </div>
          )}
          {shown.length > limit.value && (
            <p class="more">
              <Button onClick={() => (limit.value += PAGE)}>{`Show more (${shown.length - limit.value} left)`}</Button>
            </p>
          )}
        </>
      )}
      {open.value === "pairing" && <PairingDialog onClose={() => (open.value = undefined)} />}
      {open.value === "groups" && <GroupsDialog onClose={() => (open.value = undefined)} />}
    </>
  );
}

export function OnlineDot({ device }: { device: Device }) {
  const [tone, text] = device.revoked ? ["bad", "revoked"] : device.online ? ["good", "online"] : ["off", "offline"];
  return (
    <span class={`dot ${tone}`} title={text}>
      <span class="hidden">{text}</span>
    </span>
  );
}

function DeviceRow({ device }: { device: Device }) {
  const hint = [device.model, device.serial].filter(Boolean).join(" · ") || device.hostname || device.id;
  return (
    <li class="row link device-cols">
      <div class="row-main">
        <OnlineDot device={device} />
        <div>
          <a class="row-link" href={links.device(device.id)}>
            {device.name || device.id}
          </a>
          <p class="muted clip">{hint}</p>
          {(device.project || device.groups.length > 0) && (
            <p class="tags">
              <ProjectTag project={device.project} />
              {device.groups.map((name) => (
                <span key={name} class="tag">
                  {name}
                </span>
              ))}
            </p>
          )}
        </div>
      </div>
      <div data-label="Version" class="version">
        {device.os_version || <span class="muted">–</span>}
      </div>
      <div data-label="Last update">
        {device.update ? <UpdateBrief update={device.update} /> : <span class="muted">none yet</span>}
      </div>
      <div data-label="Last seen" class="muted">
        {device.revoked ? (
          <Badge tone="bad">Revoked</Badge>
        ) : device.online ? (
          <span class="good-text">online</span>
        ) : device.last_seen_ms ? (
          <Ago at={device.last_seen_ms} />
        ) : (
          "never"
        )}
      </div>
    </li>
  );
}

function FirstDevice({ onPair }: { onPair: () => void }) {
  if (!may("pairing.change")) {
    return (
      <Empty icon="devices" title="No device yet">
        <p class="muted">Devices that your roles let you see appear here by themselves.</p>
      </Empty>
    );
  }
  return (
    <section class="card welcome">
      <div class="empty-icon">
        <Icon name="devices" />
      </div>
      <h2>Pair your first device</h2>
      <p>
        A device makes its own key and joins with a one-time token. It only ever calls out, so it may sit behind any
        router or mobile carrier.
      </p>
      <ol class="how">
        <li>
          <strong>Make a token.</strong> It names this server and works once.
        </li>
        <li>
          <strong>Give it to the device:</strong> run <code>homeport-agent pair</code> over SSH or serial, or put it in
          the file <code>/boot/homeport-pairing-token</code>.
        </li>
        <li>
          <strong>Watch it appear here,</strong> usually within seconds.
        </li>
      </ol>
      <Button icon="plus" kind="primary" onClick={onPair}>
        Make a pairing token
      </Button>
    </section>
  );
}
