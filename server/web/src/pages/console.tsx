// A device's console: commands are typed, and their runs are shown while they run.

import { useSignal } from "@preact/signals";
import { useEffect, useId, useMemo, useRef } from "preact/hooks";
import { ApiError, api, commandOutput } from "../api/client";
import type { CommandKind, CommandRun, Device } from "../api/types";
import { complete, fields, hasEnded, read, runState, type Suggestion, spelled } from "../command";
import { bytes, count, time } from "../format";
import { follow, Lines, MAX_LINES, Output } from "../output";
import { may, onRun, ownName, resyncs } from "../state";
import { Button, ErrorNote, errorText, useTask } from "../ui/action";
import { Ago, Badge, Facts } from "../ui/bits";
import { Icon } from "../ui/icon";
import { More, usePages } from "../ui/pages";

/** Lines that were typed for a device, until the page is left: nothing of them is stored. */
const typed = new Map<string, string[]>();
const MAX_TYPED = 100;
/** Numbers in `_ms` from this one on are times since 1970, below it spans. */
const FIRST_TIME_MS = 1e11;

type Run = (line: { name: string; arguments: Record<string, unknown> }) => Promise<void>;

export function Console({ device }: { device: Device }) {
  const kinds = useSignal<CommandKind[]>([]);
  const failure = useSignal<string | undefined>(undefined);
  const news = useSignal<ReadonlyMap<number, CommandRun>>(new Map());
  /** The command that was begun here last: its output is open. */
  const newest = useSignal(0);
  const pages = usePages<CommandRun>((after) => api.commandRuns(device.id, after), [device.id, resyncs.value]);
  useEffect(() => {
    api.commandKinds(device.id).then(
      (all) => {
        kinds.value = all;
        failure.value = undefined;
      },
      (error) => (failure.value = errorText(error)),
    );
  }, [device.id, device.online, resyncs.value]);
  useEffect(
    () =>
      onRun((run) => {
        if (run.device === device.id) news.value = new Map(news.value).set(run.id, run);
      }),
    [device.id],
  );
  const runs = new Map((pages.items.value ?? []).map((run) => [run.id, run]));
  for (const [id, told] of news.value) {
    const known = runs.get(id);
    if (!known || told.updated_ms >= known.updated_ms) runs.set(id, told);
  }
  const run: Run = async ({ name, arguments: values }) => {
    const command = await api.createCommand({ name, arguments: values, target: { device: device.id } });
    newest.value = command.id;
  };
  return (
    <section class="card console" aria-label="Console">
      <h2>Console</h2>
      <ErrorNote text={failure.value ?? pages.error.value} />
      {may("command.run") && <Prompt device={device} kinds={kinds.value} run={run} />}
      {pages.items.value?.length === 0 && runs.size === 0 && <p class="muted">No command yet.</p>}
      <ul class="past runs">
        {[...runs.values()]
          .sort((a, b) => b.id - a.id)
          .map((one) => (
            <Shown
              key={one.id}
              run={one}
              kind={kinds.value.find(({ name }) => name === one.name)}
              opened={one.command === newest.value}
              again={run}
            />
          ))}
      </ul>
      <More more={pages.more.value} busy={pages.busy.value} label="Show older" onMore={pages.loadMore} />
    </section>
  );
}

function Prompt({ device, kinds, run }: { device: Device; kinds: CommandKind[]; run: Run }) {
  const { busy, error, run: task } = useTask();
  const line = useSignal("");
  const input = useRef<HTMLInputElement>(null);
  const hint = useId();
  const key = `${ownName()} ${device.id}`;
  /** How far back the arrow keys went. */
  const back = useRef(0);
  const suggestions = complete(line.value, kinds);
  const first = suggestions.find(({ disabled }) => !disabled);
  const take = (suggestion: Suggestion) => {
    line.value = suggestion.line;
    input.current?.focus();
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    void task(async () => {
      const text = line.value.trim();
      await run(read(text, kinds));
      typed.set(key, [...(typed.get(key) ?? []).filter((one) => one !== text), text].slice(-MAX_TYPED));
      back.current = 0;
      line.value = "";
    });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const past = typed.get(key) ?? [];
    if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      event.preventDefault();
      back.current = Math.min(past.length, Math.max(0, back.current + (event.key === "ArrowUp" ? 1 : -1)));
      line.value = past[past.length - back.current] ?? "";
    } else if (event.key === "Tab" && !event.shiftKey && line.value && first && first.line !== line.value) {
      event.preventDefault();
      take(first);
    }
  };
  return (
    <form class="prompt" onSubmit={submit}>
      <div class="inline-form">
        <label class="field">
          <span>Command</span>
          <input
            ref={input}
            class="mono"
            value={line.value}
            onInput={(event) => (line.value = event.currentTarget.value)}
            onKeyDown={onKeyDown}
            placeholder="ps"
            aria-describedby={hint}
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
          />
        </label>
        <Button type="submit" kind="primary" busy={busy.value} disabled={device.revoked}>
          Run
        </Button>
      </div>
      <p class="muted small" id={hint}>
        Tab completes, the arrow keys bring back what you ran.
        {!device.online && " The device is offline: it runs a command if it connects within an hour."}
      </p>
      {suggestions.length > 0 && (
        <ul class="suggestions" aria-label="Suggestions">
          {suggestions.map((one) => (
            <li key={one.label}>
              <button type="button" class="button small" disabled={one.disabled} onClick={() => take(one)}>
                <code>{one.label}</code>
                {one.note && <span class="muted">{one.note}</span>}
              </button>
            </li>
          ))}
        </ul>
      )}
      <ErrorNote text={error.value} />
    </form>
  );
}

interface ShownProps {
  run: CommandRun;
  kind: CommandKind | undefined;
  opened: boolean;
  again: Run;
}

function Shown({ run, kind, opened, again }: ShownProps) {
  const open = useSignal(opened);
  const { busy, error, run: task } = useTask();
  const { label, tone } = runState(run.state);
  const ended = hasEnded(run.state);
  useEffect(() => {
    if (opened) open.value = true;
  }, [opened]);
  return (
    <li>
      <details open={open.value} onToggle={(event) => (open.value = event.currentTarget.open)}>
        <summary>
          <Badge tone={tone}>{label}</Badge>
          <code class="wrap">{spelled(run.name, run.arguments)}</code>
          <span class="muted past-when">
            {run.created_by}, <Ago at={run.created_ms} />
          </span>
          <Icon name="chevron" />
        </summary>
        {open.value && (
          <>
            <p class="run-state muted">
              {run.detail && <span>{run.detail}</span>}
              {run.exit_status != null && <span>exit status {run.exit_status}</span>}
              {run.cancelling && !ended && <span>is being cancelled</span>}
              <span>command {run.command}</span>
            </p>
            <Told run={run} kind={kind} />
            {may("command.run") && (
              <div class="actions">
                {!ended && (
                  <Button
                    disabled={run.cancelling}
                    busy={busy.value}
                    onClick={() => void task(async () => void (await api.cancelCommand(run.command)))}
                  >
                    Cancel
                  </Button>
                )}
                {ended && (
                  <Button busy={busy.value} onClick={() => void task(() => again(run))}>
                    Run again
                  </Button>
                )}
              </div>
            )}
            <ErrorNote text={error.value} />
          </>
        )}
      </details>
    </li>
  );
}

/** Whether a break of the stream may pass by itself. */
function isPassing(error: unknown): boolean {
  return !(error instanceof ApiError) || error.status === 0 || error.status === 429 || error.status >= 500;
}

/** What a command wrote and answered, as it comes. */
function Told({ run, kind }: { run: CommandRun; kind: CommandKind | undefined }) {
  const output = useMemo(() => new Output(), [run.id]);
  /** Counts changes of the output. */
  const changes = useSignal(0);
  const { busy, error, run: task } = useTask();
  const failure = useSignal<string | undefined>(undefined);
  useEffect(() => {
    const abort = new AbortController();
    const open = (from: number) => commandOutput(run, from, true, abort.signal);
    follow(output, open, () => (changes.value += 1), isPassing, abort.signal).catch((error) => {
      failure.value = errorText(error);
    });
    return () => abort.abort();
  }, [run.id]);
  // Read, so that a change draws again.
  void changes.value;
  const download = () =>
    task(async () => {
      const parts: Uint8Array<ArrayBuffer>[] = [];
      const reader = (await commandOutput(run, 0, false)).getReader();
      const lines = new Lines();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        for (const line of lines.take(part.value)) {
          if (line.type === "output") parts.push(Uint8Array.from(atob(line.data), (c) => c.charCodeAt(0)));
        }
      }
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob(parts, { type: "application/octet-stream" }));
      link.download = `command-${run.command}.txt`;
      link.click();
      URL.revokeObjectURL(link.href);
    });
  const result = output.run?.result;
  return (
    <>
      <ErrorNote text={failure.value ?? error.value} />
      {output.missing > 0 && <p class="muted small">{bytes(output.missing)} of the output are no longer there.</p>}
      {run.dropped_bytes > 0 && (
        <p class="muted small">The device threw {bytes(run.dropped_bytes)} away, because it was too much.</p>
      )}
      {output.hidden > 0 && (
        <p class="muted small">
          The newest {count(MAX_LINES, "line")} are shown, {count(output.hidden, "line")} before them are not.
        </p>
      )}
      {output.lines.length > 0 && (
        <>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached with the keyboard */}
          <div class="terminal" role="log" aria-live="off" aria-label="Output" tabIndex={0}>
            {output.lines.map((line) => (
              <div key={line.id} class={line.stderr ? "stderr" : ""}>
                {line.stderr && <span class="hidden">stderr: </span>}
                {line.text || " "}
              </div>
            ))}
          </div>
          <p class="actions">
            <Button busy={busy.value} onClick={() => void download()}>
              Download the output
            </Button>
          </p>
        </>
      )}
      {result && Object.keys(result).length > 0 && <Result result={result as Record<string, unknown>} kind={kind} />}
    </>
  );
}

type Row = Record<string, unknown>;

function Result({ result, kind }: { result: Row; kind: CommandKind | undefined }) {
  const all = fields(result, kind);
  const isRows = (value: unknown): value is Row[] =>
    Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "object" && one !== null);
  const facts = all.filter(({ value }) => !isRows(value) && value !== null);
  return (
    <div class="result">
      {facts.length > 0 && <Facts facts={facts.map(({ name, value }) => [label(name), cell(name, value) || "none"])} />}
      {all.map(
        ({ name, value, columns }) => isRows(value) && <Table key={name} name={name} rows={value} columns={columns} />,
      )}
      <details class="raw">
        <summary>Raw JSON</summary>
        <pre class="wrap">{JSON.stringify(result, null, 2)}</pre>
      </details>
    </div>
  );
}

function Table({ name, rows, columns }: { name: string; rows: Row[]; columns: string[] }) {
  const sorting = useSignal<{ by: string; down: boolean } | undefined>(undefined);
  const present = new Set(rows.flatMap(Object.keys));
  const shown = [...new Set([...columns.filter((column) => present.has(column)), ...present])];
  const by = sorting.value;
  const sorted = by ? [...rows].sort((a, b) => (by.down ? -1 : 1) * compare(a[by.by], b[by.by])) : rows;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached with the keyboard
    <section class="table-scroll" tabIndex={0} aria-label={label(name)}>
      <table>
        <thead>
          <tr>
            {shown.map((column) => (
              <th
                key={column}
                scope="col"
                aria-sort={by?.by === column ? (by.down ? "descending" : "ascending") : "none"}
              >
                <button
                  type="button"
                  onClick={() => (sorting.value = { by: column, down: by?.by === column && !by.down })}
                >
                  {label(column)}
                  {by?.by === column && <span aria-hidden="true">{by.down ? " ↓" : " ↑"}</span>}
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {sorted.map((row, index) => (
            // Rows have no identity of their own.
            <tr key={String(row["pid"] ?? index)}>
              {shown.map((column) => (
                <td key={column} class={typeof row[column] === "number" ? "number" : ""}>
                  {cell(column, row[column])}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a ?? "").localeCompare(String(b ?? ""));
}

function label(name: string): string {
  return name
    .replace(/_(bytes|ms|s)$/, "")
    .replace(/_percent$/, " %")
    .replaceAll("_", " ");
}

function cell(name: string, value: unknown): string {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map((one) => cell(name, one)).join(", ");
  if (typeof value === "object") return JSON.stringify(value);
  if (typeof value !== "number") return String(value);
  if (name.endsWith("_bytes")) return bytes(value);
  if (name.endsWith("_ms")) return value >= FIRST_TIME_MS ? time(value) : `${value} ms`;
  return name.endsWith("_s") ? `${value} s` : String(value);
}
