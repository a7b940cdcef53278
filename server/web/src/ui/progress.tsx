// How an update goes: as a badge, as steps, as a history.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { api } from "../api/client";
import type { DeviceUpdate, StateChange, Why } from "../api/types";
import { bytes, duration, percent } from "../format";
import { now, resyncs } from "../state";
import { named } from "../text";
import { advice, isFinal, overall, spans, stages, stateText } from "../update";
import { ErrorNote, errorText } from "./action";
import { Badge, Bar, Loading, Time } from "./bits";
import { Icon } from "./icon";

export function StateBadge({ state }: { state: string }) {
  const { label, tone } = stateText(state);
  return <Badge tone={tone}>{label}</Badge>;
}

/** One line for a list: the state, and while it runs, how far it is. */
export function UpdateBrief({ update }: { update: DeviceUpdate }) {
  const running = !isFinal(update.state);
  return (
    <div class="update-brief">
      <div class="update-brief-line">
        <StateBadge state={update.state} />
        <span class="muted version" title={update.version}>
          {update.version}
        </span>
      </div>
      {running && <Bar share={overall(update)} label={`Update to ${update.version}`} />}
    </div>
  );
}

/** The steps that every update goes, and where this one is. */
export function Steps({ update }: { update: DeviceUpdate }) {
  return (
    <ol class="steps">
      {stages(update).map((stage) => (
        <li
          key={stage.key}
          class={stage.status}
          {...(stage.status === "current" ? { "aria-current": "step" as const } : {})}
        >
          <span class="step-dot">
            {stage.status === "done" && <Icon name="check" />}
            {(stage.status === "failed" || stage.status === "stopped") && <Icon name="close" />}
          </span>
          <span class="step-label">
            {stage.label}
            <span class="hidden">: {stage.status}</span>
          </span>
        </li>
      ))}
    </ol>
  );
}

export function Reason({ why }: { why: Why }) {
  const hint = advice(why.code);
  return (
    <div class="reason">
      <p>
        <code>{why.code}</code> {why.detail}
      </p>
      {hint && <p class="muted">{hint}</p>}
    </div>
  );
}

/** Everything about an update that runs or ran. */
export function UpdateDetail({ update }: { update: DeviceUpdate }) {
  const running = !isFinal(update.state);
  const { explains } = stateText(update.state);
  return (
    <div class="update-detail">
      <Steps update={update} />
      <div class="update-now">
        <p>
          <StateBadge state={update.state} /> <span class="muted">{explains}</span>
        </p>
        {running && <Bar share={overall(update)} label={`Update to ${update.version}`} />}
        <p class="update-numbers muted">
          {running && update.percent > 0 && <span>{update.percent} % of this step</span>}
          {running && update.message && <span>{update.message}</span>}
          <Fetched update={update} />
        </p>
        {update.reason && <Reason why={update.reason} />}
      </div>
    </div>
  );
}

function Fetched({ update }: { update: DeviceUpdate }) {
  if (update.bytes_fetched === 0) return null;
  if (update.bundle_size === 0) return <span>{bytes(update.bytes_fetched)} fetched</span>;
  return (
    <span>
      {bytes(update.bytes_fetched)} fetched of a bundle of {bytes(update.bundle_size)} (
      {percent(update.bytes_fetched / update.bundle_size)})
    </span>
  );
}

interface HistoryProps {
  device: string;
  update: DeviceUpdate;
}

/** Every state with its time, how long it lasted, and what ran. */
export function History({ device, update }: HistoryProps) {
  const history = useSignal<StateChange[] | undefined>(undefined);
  const error = useSignal<string | undefined>(undefined);
  useEffect(() => {
    api.updateHistory(device, update.id).then(
      (found) => {
        history.value = found.history;
        error.value = undefined;
      },
      (failure: unknown) => (error.value = errorText(failure)),
    );
  }, [device, update.id, update.steps, resyncs.value]);
  if (!history.value) return error.value ? <ErrorNote text={error.value} /> : <Loading what="the history" />;
  return (
    <ol class="history">
      {spans(history.value, now.value).map(({ change, lastedMs }) => (
        <li key={`${change.state}-${change.at_ms}`}>
          <StateBadge state={change.state} />
          <div>
            <p>
              <Time at={change.at_ms} />
              {lastedMs !== undefined && <span class="muted"> for {duration(lastedMs)}</span>}
            </p>
            {change.running_version && (
              <p class="muted">
                running {named(change.running_version)}
                {change.running_slot && ` in slot ${named(change.running_slot)}`}
              </p>
            )}
            {change.reason && <Reason why={change.reason} />}
          </div>
        </li>
      ))}
    </ol>
  );
}
