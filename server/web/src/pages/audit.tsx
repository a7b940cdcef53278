// Who did what.

import type { ComponentChildren } from "preact";
import { api } from "../api/client";
import type { AuditEntry } from "../api/types";
import { links } from "../route";
import { bundleOf, fleet, resyncs } from "../state";
import { ErrorNote } from "../ui/action";
import { Empty, Head, Loading, Time } from "../ui/bits";
import { More, usePages } from "../ui/pages";
import { ProjectTag } from "../ui/project";

export function Audit() {
  const pages = usePages<AuditEntry>(api.audit, [resyncs.value]);
  const shown = pages.items.value;
  const error = pages.error.value;
  return (
    <>
      <Head title="Audit" below={<p class="muted">Every change, newest first.</p>} />
      <ErrorNote text={error} />
      {!shown && !error && <Loading what="the record" />}
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
                  <Subject entry={entry} /> <ProjectTag project={entry.project} />
                  {entry.detail && <span class="muted"> {entry.detail}</span>}
                </span>
              </li>
            ))}
          </ul>
        </div>
      )}
      <More more={pages.more.value} busy={pages.busy.value} label="Show older" onMore={pages.loadMore} />
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
  const bundle = bundleOf(entry.subject);
  if (bundle) return <a href={links.bundles}>bundle {bundle.version}</a>;
  if (entry.action.startsWith("deployment.") && /^\d+$/.test(entry.subject)) {
    return <a href={links.deployment(Number(entry.subject))}>#{entry.subject}</a>;
  }
  return <span class="hash">{entry.subject}</span>;
}
