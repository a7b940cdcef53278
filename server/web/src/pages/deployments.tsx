// Every deployment, newest first.

import { useSignal } from "@preact/signals";
import type { Deployment, DeviceProgress } from "../api/types";
import { count } from "../format";
import { links } from "../route";
import { bundles, deployments, devices } from "../state";
import { Button } from "../ui/action";
import { Ago, Badge, Empty, Head } from "../ui/bits";
import { stateText, type Tone } from "../update";
import { DeployDialog, targetText } from "./deploy";

export function Deployments() {
  const starting = useSignal(false);
  const list = deployments.value;
  const ready = bundles.value.length > 0 && devices.value.length > 0;
  return (
    <>
      <Head title="Deployments">
        <Button icon="plus" kind="primary" disabled={!ready} onClick={() => (starting.value = true)}>
          New deployment
        </Button>
      </Head>
      {list.length === 0 ? (
        <Empty icon="deployments" title="Nothing has been deployed yet">
          <p class="muted">A deployment brings a bundle to a device or a group, and shows how each one gets on.</p>
          {!ready && (
            <p>
              You need {devices.value.length === 0 && <a href={links.devices}>a paired device</a>}
              {devices.value.length === 0 && bundles.value.length === 0 && " and "}
              {bundles.value.length === 0 && <a href={links.bundles}>an uploaded bundle</a>} first.
            </p>
          )}
        </Empty>
      ) : (
        <div class="card flush">
          <div class="row-head deployment-cols" aria-hidden="true">
            <span>Deployment</span>
            <span>To</span>
            <span>Result</span>
            <span>Started</span>
          </div>
          <ul class="rows" aria-label="Deployments">
            {list.map((deployment) => (
              <li key={deployment.id} class="row link deployment-cols">
                <div>
                  <a class="row-link" href={links.deployment(deployment.id)}>
                    <span class="muted">#{deployment.id}</span> <span class="version">{deployment.version}</span>
                  </a>
                </div>
                <div data-label="To">
                  {targetText(deployment.target)}
                  {"group" in deployment.target && (
                    <span class="muted"> ({count(deployment.devices.length, "device")})</span>
                  )}
                </div>
                <div data-label="Result">
                  <Tally devices={deployment.devices} />
                </div>
                <div data-label="Started" class="muted">
                  <Ago at={deployment.created_ms} /> by {deployment.created_by}
                </div>
              </li>
            ))}
          </ul>
        </div>
      )}
      {starting.value && <DeployDialog onClose={() => (starting.value = false)} />}
    </>
  );
}

const TONES: Tone[] = ["active", "warn", "neutral", "good", "bad"];

/** How many devices are in which state: one badge a state, and a bar when there are many devices. */
export function Tally({ devices: progress }: { devices: DeviceProgress[] }) {
  const states = new Map<string, number>();
  for (const { state } of progress) states.set(state, (states.get(state) ?? 0) + 1);
  const sorted = [...states].sort(([a], [b]) => TONES.indexOf(stateText(a).tone) - TONES.indexOf(stateText(b).tone));
  return (
    <p class="tally">
      {sorted.map(([state, number]) => (
        <Badge key={state} tone={stateText(state).tone}>
          {progress.length > 1 && `${number} `}
          {stateText(state).label}
        </Badge>
      ))}
    </p>
  );
}

/** Text for a deployment as a whole. */
export function outcome(deployment: Deployment): string {
  const good = deployment.devices.filter(({ state }) => state === "verified").length;
  const all = deployment.devices.length;
  const only = all === 1 ? deployment.devices[0] : undefined;
  if (only) return stateText(only.state).label.toLowerCase();
  if (!deployment.finished) return `${good} of ${count(all, "device")} verified so far`;
  return good === all ? `verified on ${count(all, "device")}` : `verified on ${good} of ${count(all, "device")}`;
}
