// Groups: making and deleting them, and a device's membership.

import { useSignal } from "@preact/signals";
import { useId } from "preact/hooks";
import { groupName, isWithin } from "../access";
import { api } from "../api/client";
import type { Device } from "../api/types";
import { count } from "../format";
import { groups, may, refetch, refetchGroups } from "../state";
import { Button, ErrorNote, IconButton, useTask } from "../ui/action";
import { ask, Dialog } from "../ui/dialog";
import { Icon } from "../ui/icon";
import { chosenProject, ProjectField } from "../ui/project";

const NAME_PATTERN = "[a-z0-9\\-]{1,64}";
/** With the path of a project before it. */
const WHOLE_NAME_PATTERN = "([a-z0-9\\-]{1,32}/){0,4}[a-z0-9\\-]{1,64}";
const NAME_HINT = "Small letters, digits and hyphens, at most 64";

export function GroupsDialog({ onClose }: { onClose: () => void }) {
  const { busy, error, run } = useTask();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const data = new FormData(form);
    void run(async () => {
      await api.createGroup(groupName(String(data.get("name")), chosenProject(data)));
      await refetchGroups();
      form.reset();
    });
  };
  const remove = (name: string, members: number) =>
    ask({
      title: `Delete group ${name}?`,
      body: <p>{count(members, "device")} will leave it. The devices themselves stay as they are.</p>,
      confirm: "Delete group",
      act: async () => {
        await api.deleteGroup(name);
        await refetch();
      },
    });
  return (
    <Dialog title="Groups" onClose={onClose}>
      <div class="dialog-body">
        {groups.value.length === 0 && <p class="muted">Groups let you deploy to many devices at once.</p>}
        <ul class="group-list">
          {groups.value.map(({ name, devices }) => (
            <li key={name}>
              <span class="tag">{name}</span>
              <span class="muted">{count(devices, "device")}</span>
              <IconButton icon="trash" label={`Delete group ${name}`} onClick={() => remove(name, devices)} />
            </li>
          ))}
        </ul>
        <form class="inline-form" onSubmit={submit}>
          <label class="field">
            <span>New group</span>
            <input
              name="name"
              pattern={NAME_PATTERN}
              title={NAME_HINT}
              required
              autocomplete="off"
              spellcheck={false}
            />
          </label>
          <ProjectField none="none" />
          <Button type="submit" icon="plus" busy={busy.value}>
            Add
          </Button>
        </form>
        <ErrorNote text={error.value} />
      </div>
    </Dialog>
  );
}

/** The groups of one device: leave with a click, join by name; a name that is new makes the group. */
export function DeviceGroups({ device }: { device: Device }) {
  const { busy, error, run } = useTask();
  const adding = useSignal(false);
  const list = useId();
  const changes = may("group.change");
  const others = groups.value.filter(
    ({ name, project }) => !device.groups.includes(name) && isWithin(device.project, project),
  );
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const typed = String(new FormData(event.currentTarget as HTMLFormElement).get("name"));
    const name = others.some((group) => group.name === typed) ? typed : groupName(typed, device.project);
    void run(async () => {
      if (!groups.value.some((group) => group.name === name)) await api.createGroup(name);
      await api.joinGroup(name, device.id);
      await refetchGroups(device.id);
      adding.value = false;
    });
  };
  const leave = (name: string) =>
    run(async () => {
      await api.leaveGroup(name, device.id);
      await refetchGroups(device.id);
    });
  return (
    <div class="device-groups">
      <p class="tags">
        {device.groups.map((name) => (
          <span key={name} class={changes ? "tag removable" : "tag"}>
            {name}
            {changes && (
              <button type="button" aria-label={`Leave group ${name}`} onClick={() => void leave(name)}>
                <Icon name="close" />
              </button>
            )}
          </span>
        ))}
        {changes && !adding.value && (
          <button type="button" class="tag add" onClick={() => (adding.value = true)}>
            <Icon name="plus" /> {device.groups.length ? "group" : "Add to a group"}
          </button>
        )}
      </p>
      {changes && adding.value && (
        <form class="inline-form" onSubmit={submit}>
          <label class="field">
            <span class="hidden">Group to join</span>
            <input
              name="name"
              list={list}
              pattern={WHOLE_NAME_PATTERN}
              title={NAME_HINT}
              placeholder="group name"
              required
              autocomplete="off"
              spellcheck={false}
              autofocus
            />
            <datalist id={list}>
              {others.map(({ name }) => (
                <option key={name} value={name} />
              ))}
            </datalist>
          </label>
          <Button type="submit" busy={busy.value}>
            Join
          </Button>
          <Button kind="quiet" onClick={() => (adding.value = false)}>
            Cancel
          </Button>
        </form>
      )}
      <ErrorNote text={error.value} />
    </div>
  );
}
