// One deployment, device by device, live.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ApiError, api } from "../api/client";
import type { Deployment, DeviceProgress } from "../api/types";
import { bytes, duration, shortHash } from "../format";
import { withNews } from "../merge";
import { links } from "../route";
import { bundleOf, fleet, keepDeployment, may, now, onUpdate, resyncs } from "../state";
import { Button, ErrorNote, errorText } from "../ui/action";
import { Ago, Empty, Facts, Head, Loading, Time, Unfold } from "../ui/bits";
import { More, usePages } from "../ui/pages";
import { History, UpdateDetail } from "../ui/progress";
import { isCancellable, isFinal, stateText, sum } from "../update";
import { askCancel, targetText } from "./deploy";
import { outcome, sortedStates, Tally } from "./deployments";

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
      <Empty page icon="deployments" title="There is no such deployment">
        <p>
          <a href={links.deployments}>Back to the deployments</a>
        </p>
      </Empty>
    );
  }
  return <Shown deployment={deployment} />;
}

function Shown({ deployment }: { deployment: Deployment }) {
  const bundle = bundleOf(deployment.bundle);
  const cancellable = Object.keys(deployment.states).some(isCancellable);
  const ended = deployment.finished ? deployment.updated_ms : now.value;
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
            <span class="version">{deployment.version}</span> to {targetText(deployment)}: {outcome(deployment)}
          </p>
        }
      >
        {!deployment.finished && may("deployment.cancel") && (
          <Button
            icon="ban"
            kind="danger"
            disabled={!cancellable}
            onClick={() => askCancel(deployment.id, deployment.states)}
          >
            Cancel
          </Button>
        )}
      </Head>
      <section class="card">
        <div class="card-head">
          <h2>Overview</h2>
          <Tally states={deployment.states} />
        </div>
        <Facts
          facts={[
            ["Started", <Ago key="started" at={deployment.created_ms} />],
            ["By", deployment.created_by],
            ...(deployment.project ? [["Project", deployment.project] as [string, string]] : []),
            [deployment.finished ? "Took" : "Running for", duration(ended - deployment.created_ms)],
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
      <Devices key={deployment.id} deployment={deployment} />
    </>
  );
}

/** The devices, or those in one state, a page at a time, live. */
function Devices({ deployment: { id, states } }: { deployment: Deployment }) {
  const state = useSignal("");
  const pages = usePages<DeviceProgress>(
    (after) => api.deploymentDevices(id, state.value, after),
    [id, state.value, resyncs.value],
  );
  const news = useSignal<ReadonlyMap<number, DeviceProgress>>(new Map());
  useEffect(
    () =>
      onUpdate((update) => {
        if (update.deployment === id) news.value = new Map(news.value).set(update.id, update);
      }),
    [id, news],
  );
  const rows = withNews(pages.items.value ?? [], news.value, !pages.more.value)
    .filter((row) => !state.value || row.state === state.value)
    .sort((a, b) => order(a) - order(b) || a.device_name.localeCompare(b.device_name));
  return (
    <>
      {sum(states) > 1 && (
        <fieldset class="chips">
          <legend class="hidden">Show</legend>
          {[["", sum(states)] as const, ...sortedStates(states)].map(([key, devices]) => (
            <button
              key={key}
              type="button"
              class="chip"
              aria-pressed={state.value === key}
              onClick={() => (state.value = key)}
            >
              {key ? stateText(key).label : "All"} <span class="chip-count">{devices}</span>
            </button>
          ))}
        </fieldset>
      )}
      <ErrorNote text={pages.error.value} />
      <ul class="device-progress" aria-label="Devices of this deployment">
        {rows.map((progress) => (
          <li key={progress.id} class="card">
            <header class="card-head">
              <h2>
                <a href={links.device(progress.device)}>{progress.device_name || progress.device}</a>
              </h2>
              <span class="muted small">
                changed <Ago at={progress.updated_ms} />
              </span>
            </header>
            <UpdateDetail update={progress} />
            <Unfold class="timeline" summary={<>Every step, from {<Time at={progress.started_ms} />}</>}>
              {() => <History device={progress.device} update={progress} />}
            </Unfold>
          </li>
        ))}
      </ul>
      <More more={pages.more.value} busy={pages.busy.value} label="Show more" onMore={pages.loadMore} />
    </>
  );
}

/** Those that run first, then those that went wrong. */
function order({ state }: DeviceProgress): number {
  if (!isFinal(state)) return 0;
  return state === "verified" ? 2 : 1;
}
