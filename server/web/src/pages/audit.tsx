// Who did what.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { api } from "../api/client";
import type { AuditEntry } from "../api/types";
import { links } from "../route";
import { fleet, resyncs } from "../state";
import { Button, ErrorNote, useTask } from "../ui/action";
import { Empty, Head, Loading, Time } from "../ui/bits";

export function Audit() {
  const entries = useSignal<AuditEntry[] | undefined>(undefined);
  const ended = useSignal(false);
  const { busy, error, run } = useTask();
  const load = (before?: number) =>
    run(async () => {
      const page = await api.audit(before);
      ended.value = page.length === 0;
      entries.value = before === undefined ? page : [...(entries.value ?? []), ...page];
    });
  useEffect(() => void load(), [resyncs.value]);

  const shown = entries.value;
  const last = shown?.at(-1);
  return (
    <>
      <Head title="Audit" below={<p class="muted">Every change, newest first.</p>} />
      <ErrorNote text={error.value} />
      {!shown && !error.value && <Loading what="the record" />}
      {shown?.length === 0 && <Empty icon="audit" title="Nothing has been recorded yet" />}
      {shown && shown.length > 0 && (
        <div class="card flush">
          <ul class="rows audit-rows">
            {shown.map((entry) => (
              <li key={entry.id} class="row">
                <span class="muted">
                  <Time at={entry.at_ms} />
                </span>
                <span class="audit-actor">
                  <Actor actor={entry.actor} />
                </span>
                <code>{entry.action}</code>
                <span class="audit-what">
                  <Subject entry={entry} />
                  {entry.detail && <span class="muted"> {entry.detail}</span>}
                </span>
              </li>
            ))}
          </ul>
        </div>
      )}
      {last && last.id > 1 && !ended.value && (
        <p class="more">
          <Button busy={busy.value} onClick={() => void load(last.id)}>
            Show older
          </Button>
        </p>
      )}
    </>
  );
}

const DEVICE = "device:";

function Actor({ actor }: { actor: string }): ComponentChildren {
  const device = actor.startsWith(DEVICE) ? fleet.value.devices.get(actor.slice(DEVICE.length)) : undefined;
  return device ? <a href={links.device(device.id)}>{device.name}</a> : actor;
}

/** A name rather than an id, and a link, where the thing is still there. */
function Subject({ entry }: { entry: AuditEntry }) {
  const device = fleet.value.devices.get(entry.subject);
  if (device) return <a href={links.device(device.id)}>{device.name}</a>;
  const bundle = fleet.value.bundles.get(entry.subject);
  if (bundle) return <a href={links.bundles}>bundle {bundle.version}</a>;
  if (entry.action.startsWith("deployment.") && /^\d+$/.test(entry.subject)) {
    return <a href={links.deployment(Number(entry.subject))}>#{entry.subject}</a>;
  }
  return <span class="hash">{entry.subject}</span>;
}
