// One deployment, device by device, live.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ApiError, api } from "../api/client";
import type { Deployment, DeviceProgress } from "../api/types";
import { bytes, duration, shortHash } from "../format";
import { links } from "../route";
import { fleet, keepDeployment, now } from "../state";
import { Button, ErrorNote, errorText } from "../ui/action";
import { Ago, Empty, Facts, Head, Loading, Time } from "../ui/bits";
import { History, UpdateDetail } from "../ui/progress";
import { isCancellable, isFinal } from "../update";
import { askCancel, targetText } from "./deploy";
import { outcome, Tally } from "./deployments";

export function DeploymentPage({ id }: { id: number }) {
  const deployment = fleet.value.deployments.get(id);
  const known = deployment !== undefined;
  const error = useSignal<unknown>(undefined);
  // The list that every page shares holds the newest only.
  useEffect(() => {
    if (known) return;
    api.deployment(id).then(keepDeployment, (failure: unknown) => (error.value = failure));
  }, [id, known, error]);
  if (!deployment && !error.value) return <Loading what="the deployment" />;
  if (!deployment && !(error.value instanceof ApiError && error.value.status === 404)) {
    return <ErrorNote text={errorText(error.value)} />;
  }
  if (!deployment) {
    return (
      <Empty icon="deployments" title="There is no such deployment">
        <p>
          <a href={links.deployments}>Back to the deployments</a>
        </p>
      </Empty>
    );
  }
  return <Shown deployment={deployment} />;
}

function Shown({ deployment }: { deployment: Deployment }) {
  const bundle = fleet.value.bundles.get(deployment.bundle);
  const cancellable = deployment.devices.some(({ state }) => isCancellable(state));
  const ended = Math.max(...deployment.devices.map((device) => device.updated_ms), deployment.created_ms);
  const running = [...deployment.devices].sort(
    (a, b) => order(a) - order(b) || a.device_name.localeCompare(b.device_name),
  );
  return (
    <>
      <Head
        title={`Deployment #${deployment.id}`}
        above={
          <a class="back" href={links.deployments}>
            Deployments
          </a>
        }
        below={
          <p class="muted">
            <span class="version">{deployment.version}</span> to {targetText(deployment.target)}: {outcome(deployment)}
          </p>
        }
      >
        {!deployment.finished && (
          <Button
            icon="ban"
            kind="danger"
            disabled={!cancellable}
            onClick={() => askCancel(deployment.id, deployment.devices)}
          >
            Cancel
          </Button>
        )}
      </Head>
      <section class="card">
        <div class="card-head">
          <h2>Overview</h2>
          <Tally devices={deployment.devices} />
        </div>
        <Facts
          facts={[
            ["Started", <Ago key="started" at={deployment.created_ms} />],
            ["By", deployment.created_by],
            [
              deployment.finished ? "Took" : "Running for",
              duration((deployment.finished ? ended : now.value) - deployment.created_ms),
            ],
            [
              "Bundle",
              bundle ? (
                <a href={links.bundles}>
                  {bundle.version} · {bytes(bundle.size)}
                </a>
              ) : (
                <span>
                  <code>{shortHash(deployment.bundle)}</code> (deleted)
                </span>
              ),
            ],
          ]}
        />
      </section>
      <ul class="device-progress" aria-label="Devices of this deployment">
        {running.map((progress) => (
          <li key={progress.device} class="card">
            <header class="card-head">
              <h2>
                <a href={links.device(progress.device)}>{progress.device_name || progress.device}</a>
              </h2>
              <span class="muted small">
                changed <Ago at={progress.updated_ms} />
              </span>
            </header>
            <UpdateDetail update={progress} />
            <details class="timeline">
              <summary>Every step, from {<Time at={progress.started_ms} />}</summary>
              <History update={progress} />
            </details>
          </li>
        ))}
      </ul>
    </>
  );
}

/** Those that run first, then those that went wrong. */
function order({ state }: DeviceProgress): number {
  if (!isFinal(state)) return 0;
  return state === "verified" ? 2 : 1;
}
