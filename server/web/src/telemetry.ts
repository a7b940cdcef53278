// From stored samples to lines in a chart.

import type { Point, Series } from "./api/types";
import { clean, named } from "./text";

export type Samples = ReadonlyMap<string, readonly Point[]>;

/** One line of a chart. */
export interface Line {
  label: string;
  points: readonly Point[];
}

/** One chart. `max` is the top of the scale where there is a natural one. */
export interface ChartSpec {
  key: "cpu" | "memory" | "disk" | "temperature" | "network" | "lost";
  title: string;
  kind: "share" | "bytes" | "rate" | "celsius" | "count";
  lines: Line[];
  max?: number;
  note?: string;
}

/** What was measured and is not there, by the series in which agent and server count it. */
const LOST: [name: string, label: string][] = [
  ["agent.left-out", "series the agent left out"],
  ["agent.dropped", "messages the agent lost"],
  ["server.dropped", "samples the server did not take"],
];

/** A break longer than this many usual distances between samples is drawn as a gap. */
const GAP_FACTOR = 3.5;

export function byName(series: Series[]): Map<string, Point[]> {
  return new Map(series.map(({ name, points }) => [name, points]));
}

/** Adds samples that just arrived and drops what has left the window. Samples may arrive late or twice. */
export function append(samples: Samples, arrived: Series[], fromMs: number): Map<string, readonly Point[]> {
  const merged = new Map(samples);
  for (const { name, points } of arrived) {
    const known = merged.get(name) ?? [];
    const newest = known.at(-1)?.at_ms ?? Number.NEGATIVE_INFINITY;
    const inOrder = points.every((point, index) => point.at_ms > (points[index - 1]?.at_ms ?? newest));
    merged.set(name, inOrder ? [...known, ...points] : inTime([...known, ...points]));
  }
  for (const [name, points] of merged) {
    if ((points[0]?.at_ms ?? fromMs) < fromMs)
      merged.set(
        name,
        points.filter((point) => point.at_ms >= fromMs),
      );
  }
  return merged;
}

function inTime(points: Point[]): Point[] {
  const unique = new Map(points.map((point) => [point.at_ms, point]));
  return [...unique.values()].sort((a, b) => a.at_ms - b.at_ms);
}

/** A counter as a rate in units a second. A counter that fell was reset: no rate is known across it. */
export function rates(counter: readonly Point[]): Point[] {
  const result: Point[] = [];
  for (let index = 1; index < counter.length; index += 1) {
    const before = counter[index - 1];
    const after = counter[index];
    if (!before || !after || after.at_ms <= before.at_ms || after.value < before.value) continue;
    result.push({ at_ms: after.at_ms, value: (after.value - before.value) / ((after.at_ms - before.at_ms) / 1000) });
  }
  return result;
}

/** What is used of something whose total and available parts are sampled. */
export function used(total: readonly Point[], available: readonly Point[]): Point[] {
  let index = 0;
  let known = total[0];
  if (!known) return [];
  return available.map((point) => {
    for (let next = total[index]; next && next.at_ms <= point.at_ms; next = total[index]) {
      known = next;
      index += 1;
    }
    return { at_ms: point.at_ms, value: Math.max(0, (known?.value ?? 0) - point.value) };
  });
}

/** The charts that these samples allow, always in the same order. */
export function charts(samples: Samples): ChartSpec[] {
  const result: ChartSpec[] = [];
  const busy = samples.get("cpu.busy");
  if (busy?.length) {
    const load = samples.get("cpu.load1")?.at(-1);
    const spec: ChartSpec = {
      key: "cpu",
      title: "CPU",
      kind: "share",
      lines: [{ label: "busy", points: busy }],
      max: 1,
    };
    if (load) spec.note = `load ${load.value.toFixed(2)}`;
    result.push(spec);
  }

  const total = samples.get("memory.total") ?? [];
  const available = samples.get("memory.available") ?? [];
  const size = total.at(-1)?.value;
  if (size !== undefined && available.length) {
    const lines = [{ label: "used", points: used(total, available) }];
    result.push({ key: "memory", title: "Memory", kind: "bytes", lines, max: size });
  }

  const disks = matching(samples, /^disk\.(.+)\.available$/).flatMap(([name, free]) => {
    const whole = samples.get(`disk.${name}.total`) ?? [];
    const of = whole.at(-1)?.value;
    if (!of) return [];
    const points = used(whole, free).map(({ at_ms, value }) => ({ at_ms, value: value / of }));
    return [{ label: mount(name), points }];
  });
  if (disks.length) result.push({ key: "disk", title: "Disk used", kind: "share", lines: joined(disks), max: 1 });

  const zones = matching(samples, /^temperature\.(.+)$/).map(([name, points]) => ({ label: plain(name), points }));
  if (zones.length) result.push({ key: "temperature", title: "Temperature", kind: "celsius", lines: zones });

  const counters = matching(samples, /^network\.(.+\.[rt]x)$/).filter(([name]) => !name.startsWith("lo."));
  const traffic = counters.map(([name, points]) => {
    const [, port = "", direction] = /^(.+)\.([rt]x)$/.exec(name) ?? [];
    return { label: `${plain(port)} ${direction === "rx" ? "in" : "out"}`, points: rates(points) };
  });
  if (traffic.some(({ points }) => points.length)) {
    result.push({ key: "network", title: "Network", kind: "rate", lines: traffic });
  }

  const lost = LOST.flatMap(([name, label]) => {
    const points = samples.get(name);
    return points?.length ? [{ label, points }] : [];
  });
  if (lost.length) result.push({ key: "lost", title: "Not kept", kind: "count", lines: lost });
  return result;
}

/**
 * What a part of a name stands for: `:` and two digits are a byte (protocol/src/series.rs). What is no such text is shown as it is, and so is
 * one with hidden characters: two that look alike stay apart.
 */
function plain(part: string): string {
  try {
    const text = decodeURIComponent(part.replaceAll(/:([0-9a-f]{2})/g, "%$1"));
    return clean(text) === text ? named(text) : part;
  } catch {
    return part;
  }
}

/** Agents from before that rule wrote `var-log`, and meant `/var/log` more often than `/var-log`. */
function mount(part: string): string {
  if (part === "root") return "/";
  return part.startsWith("/") ? plain(part) : `/${part.replaceAll("-", "/")}`;
}

/** A newer agent may have given a mount another name: it stays one line. */
function joined(lines: Line[]): Line[] {
  const byLabel = new Map<string, Point[]>();
  for (const { label, points } of lines) byLabel.set(label, [...(byLabel.get(label) ?? []), ...points]);
  return [...byLabel]
    .map(([label, points]) => ({ label, points: inTime(points) }))
    .sort((a, b) => a.label.localeCompare(b.label));
}

function matching(samples: Samples, pattern: RegExp): [string, readonly Point[]][] {
  return [...samples]
    .flatMap(([name, points]): [string, readonly Point[]][] => {
      const found = pattern.exec(name)?.[1];
      return found && points.length ? [[found, points]] : [];
    })
    .sort(([a], [b]) => a.localeCompare(b));
}

/** Columns for uPlot: seconds, then one column of values a line; `null` where a line has no sample, and in gaps. */
export function columns(lines: readonly Line[]): [number[], ...(number | null)[][]] {
  const times = new Set<number>();
  for (const { points } of lines) for (const point of points) times.add(point.at_ms);
  const ordered = [...times].sort((a, b) => a - b);
  const usual = median(ordered.slice(1).map((at, index) => at - (ordered[index] ?? at)));
  const axis: number[] = [];
  let before: number | undefined;
  for (const at of ordered) {
    if (before !== undefined && usual > 0 && at - before > usual * GAP_FACTOR) axis.push((before + at) / 2);
    axis.push(at);
    before = at;
  }
  const values = lines.map(({ points }) => {
    const known = new Map(points.map((point) => [point.at_ms, point.value]));
    return axis.map((at) => known.get(at) ?? null);
  });
  return [axis.map((at) => at / 1000), ...values];
}

function median(values: number[]): number {
  if (values.length === 0) return 0;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
