// A device's charts, fetched for a range and continued live.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { api } from "../api/client";
import type { Series } from "../api/types";
import { now, onTelemetry, resyncs } from "../state";
import { append, byName, charts, type Samples } from "../telemetry";
import { ErrorNote, errorText } from "../ui/action";
import { Loading } from "../ui/bits";
import { Chart } from "../ui/chart";

const RANGES = [
  { label: "15 min", ms: 15 * 60_000 },
  { label: "1 h", ms: 3_600_000 },
  { label: "24 h", ms: 86_400_000 },
  { label: "7 d", ms: 7 * 86_400_000 },
] as const;

/** Samples asked for a series: about as many as a chart has pixels to show. */
const POINTS = 400;

export function Telemetry({ device }: { device: string }) {
  const range = useSignal<number>(RANGES[0].ms);
  const samples = useSignal<Samples | undefined>(undefined);
  const error = useSignal<string | undefined>(undefined);

  useEffect(() => {
    const abort = new AbortController();
    const to = Date.now();
    // What arrives while the past is fetched may be missing in it.
    const held: Series[][] = [];
    let fetched = false;
    const add = (known: Samples, series: Series[]) => append(known, series, Date.now() - range.value);
    api.telemetry(device, to - range.value, to, POINTS, abort.signal).then(
      (series) => {
        fetched = true;
        samples.value = held.reduce<Samples>(add, byName(series));
        error.value = undefined;
      },
      (failure: unknown) => {
        if (!abort.signal.aborted) error.value = errorText(failure);
      },
    );
    const stop = onTelemetry((from, series) => {
      if (from !== device) return;
      if (!fetched) held.push(series);
      else if (samples.value) samples.value = add(samples.value, series);
    });
    return () => {
      abort.abort();
      stop();
    };
  }, [device, range.value, resyncs.value]);

  const specs = samples.value ? charts(samples.value) : [];
  // Moving the window each second would redraw for less than a pixel.
  const step = Math.max(1000, range.value / 600);
  const to = Math.ceil(now.value / step) * step;
  return (
    <section class="card">
      <header class="card-head">
        <h2>Telemetry</h2>
        <fieldset class="segments">
          <legend class="hidden">Time range</legend>
          {RANGES.map(({ label, ms }) => (
            <button key={ms} type="button" aria-pressed={range.value === ms} onClick={() => (range.value = ms)}>
              {label}
            </button>
          ))}
        </fieldset>
      </header>
      <ErrorNote text={error.value} />
      {!samples.value && !error.value && <Loading what="samples" />}
      {samples.value && specs.length === 0 && <p class="muted">No samples in this time.</p>}
      <div class="charts">
        {specs.map((spec) => (
          <Chart key={spec.key} spec={spec} fromMs={to - range.value} toMs={to} />
        ))}
      </div>
    </section>
  );
}
