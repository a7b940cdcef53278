// A chart over time: uPlot in the page's colours, redrawn when samples, width or theme change.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { bytes, percent, rate } from "../format";
import { type ChartSpec, columns } from "../telemetry";
import { isDark } from "../theme";

const HEIGHT_PX = 150;
const FORMAT: Record<ChartSpec["kind"], (value: number) => string> = {
  share: percent,
  bytes,
  rate,
  celsius: (value) => `${value.toFixed(1)} °C`,
  count: (value) => value.toFixed(0),
};
const SHORT: Record<ChartSpec["kind"], (value: number) => string> = {
  ...FORMAT,
  share: (value) => `${Math.round(value * 100)} %`,
  bytes: (value) => bytes(value).replace(/\.0+ /, " "),
  rate: (value) => rate(value).replace(/\.0+ /, " "),
  celsius: (value) => `${value}°`,
};
/** As many as there are colours in the tokens. */
const COLOURS = 6;

interface ChartProps {
  spec: ChartSpec;
  fromMs: number;
  toMs: number;
}

export function Chart({ spec, fromMs, toMs }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const cursor = useSignal<number | undefined>(undefined);
  const dark = isDark.value;
  const data = columns(spec.lines);
  const shape = spec.lines.map((line) => line.label).join("|");

  // A new plot for new lines or colours only; the samples have an effect of their own.
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const style = getComputedStyle(element);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--muted"),
      font: `11px ${style.fontFamily}`,
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
    };
    const short = SHORT[spec.kind];
    const created = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT_PX,
        legend: { show: false },
        padding: [8, 18, 0, 0],
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
        hooks: {
          setCursor: [
            (self) => {
              cursor.value = self.cursor.idx ?? undefined;
            },
          ],
        },
        scales: {
          x: { time: true, range: () => [windowRef.current.from / 1000, windowRef.current.to / 1000] },
          y: { range: (_self, low, high) => scale(spec, low, high) },
        },
        axes: [
          { ...axis, space: 70, size: 26, values: (self, marks) => marks.map((at) => clock(self, at)) },
          { ...axis, size: 64, space: 36, values: (_self, marks) => marks.map(short) },
        ],
        series: [
          {},
          ...spec.lines.map((line, index) => ({
            label: line.label,
            stroke: colour(`--chart-${(index % COLOURS) + 1}`),
            width: 1.75,
            ...(spec.lines.length === 1 ? { fill: colour("--chart-fill") } : {}),
            points: { show: false },
          })),
        ],
      },
      data as uPlot.AlignedData,
      element,
    );
    plot.current = created;
    const resized = new ResizeObserver(() => created.setSize({ width: element.clientWidth, height: HEIGHT_PX }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      created.destroy();
      plot.current = undefined;
    };
  }, [shape, spec.kind, spec.max, dark]);

  const windowRef = useRef({ from: fromMs, to: toMs });
  windowRef.current = { from: fromMs, to: toMs };
  useEffect(() => {
    plot.current?.setData(data as uPlot.AlignedData);
  });

  const shown = cursor.value;
  const format = FORMAT[spec.kind];
  const values = spec.lines.map((line, index) => {
    const column = data[index + 1] ?? [];
    const value = shown === undefined ? line.points.at(-1)?.value : column[shown];
    return { label: line.label, text: value === null || value === undefined ? "–" : format(value) };
  });
  const of = spec.kind === "bytes" && spec.max ? ` of ${bytes(spec.max)}` : "";
  const summary = values.map(({ label, text }) => `${label} ${text}`).join(", ");
  return (
    <figure class="chart">
      <figcaption>
        <h3>{spec.title}</h3>
        {values.length === 1 ? (
          <p class="chart-value">
            {values[0]?.text}
            <span class="muted">{of}</span>
            {spec.note && <span class="muted chart-note">{spec.note}</span>}
          </p>
        ) : (
          <ul class="legend">
            {values.map(({ label, text }, index) => (
              <li key={label} class={`line-${(index % COLOURS) + 1}`}>
                {label} <strong>{text}</strong>
              </li>
            ))}
          </ul>
        )}
      </figcaption>
      <div ref={place} class="plot" role="img" aria-label={`${spec.title} over time; last: ${summary}${of}`} />
    </figure>
  );
}

const HOUR = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const DAY_S = 86_400;

/** A mark of the time axis: the hour, or the day where the chart shows many days. */
function clock(self: uPlot, at: number): string {
  const { min = 0, max = 0 } = self.scales["x"] ?? {};
  return (Number(max) - Number(min) > 2 * DAY_S ? DAY : HOUR).format(at * 1000);
}

/** Top and bottom of the scale: natural ends where there are some, else a little room around the values. */
function scale(spec: ChartSpec, low: number | null, high: number | null): [number, number] {
  if (spec.max) return [0, spec.max];
  if (low === null || high === null) return [0, 1];
  if (spec.kind === "celsius") return [Math.floor((low - 2) / 5) * 5, Math.ceil((high + 2) / 5) * 5];
  return [0, Math.max(high * 1.15, spec.kind === "count" ? 10 : 1000)];
}
