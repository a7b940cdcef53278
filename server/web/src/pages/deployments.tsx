// Every deployment, newest first.

import { useSignal } from "@preact/signals";
import type { Deployment } from "../api/types";
import { count } from "../format";
import { links } from "../route";
import { bundles, deployments, devices, fetchOlderDeployments, may, olderDeployments } from "../state";
import { Button, ErrorNote, useTask } from "../ui/action";
import { Ago, Badge, Empty, Head } from "../ui/bits";
import { More } from "../ui/pages";
import { ProjectTag } from "../ui/project";
import { stateText, sum, type Tone } from "../update";
import { DeployDialog, targetText } from "./deploy";

export function Deployments() {
  const starting = useSignal(false);
  const { busy, error, run } = useTask();
  const list = deployments.value;
  const ready = bundles.value.length > 0 && devices.value.length > 0;
  return (
    <>
      <Head title="Deployments">
        {may("deployment.create") && (
          <Button icon="plus" kind="primary" disabled={!ready} onClick={() => (starting.value = true)}>
            New deployment
          </Button>
        )}
      </Head>
      {list.length === 0 ? (
        <Empty icon="deployments" title="Nothing has been deployed yet">
          <p class="muted">A deployment brings a bundle to a device or a group, and shows how each one gets on.</p>
          {!ready && may("deployment.create") && (
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
                  {targetText(deployment)}{" "}
                  {"device" in deployment.target && <ProjectTag project={deployment.project} />}
                  {"group" in deployment.target && (
                    <span class="muted"> ({count(sum(deployment.states), "device")})</span>
                  )}
                </div>
                <div data-label="Result">
                  <Tally states={deployment.states} />
                </div>
                <div data-label="Started" class="muted">
                  <Ago at={deployment.created_ms} /> by <bdi>{deployment.created_by}</bdi>
                </div>
              </li>
            ))}
          </ul>
        </div>
      )}
      <ErrorNote text={error.value} />
      <More
        more={!!olderDeployments.value}
        busy={busy.value}
        label="Show older"
        onMore={() => void run(fetchOlderDeployments)}
      />
      {starting.value && <DeployDialog onClose={() => (starting.value = false)} />}
    </>
  );
}

const TONES: Tone[] = ["active", "warn", "neutral", "good", "bad"];

/** How many devices are in which state: one badge a state. */
export function Tally({ states }: Pick<Deployment, "states">) {
  const many = sum(states) > 1;
  return (
    <p class="tally">
      {sortedStates(states).map(([state, number]) => (
        <Badge key={state} tone={stateText(state).tone}>
          {many && `${number} `}
          {stateText(state).label}
        </Badge>
      ))}
    </p>
  );
}

/** States with devices, those that want attention first. */
export function sortedStates(states: Deployment["states"]): [state: string, devices: number][] {
  const order = (state: string) => TONES.indexOf(stateText(state).tone);
  return Object.entries(states).sort(([a], [b]) => order(a) - order(b));
}

/** Text for a deployment as a whole. */
export function outcome({ states, finished }: Pick<Deployment, "states" | "finished">): string {
  const good = states["verified"] ?? 0;
  const all = sum(states);
  const [only] = Object.keys(states);
  if (all === 1 && only) return stateText(only).label.toLowerCase();
  if (!finished) return `${good} of ${count(all, "device")} verified so far`;
  return good === all ? `verified on ${count(all, "device")}` : `verified on ${good} of ${count(all, "device")}`;
}
