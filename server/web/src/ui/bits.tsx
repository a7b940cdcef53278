// Small things that many pages show.

import { useComputed, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { ago, time } from "../format";
import { now } from "../state";
import { named } from "../text";
import type { Tone } from "../update";
import { Icon, type IconName } from "./icon";

/** How long ago, kept current; the exact time on hover. */
export function Ago({ at }: { at: number }) {
  const text = useComputed(() => ago(at, now.value));
  return (
    <time dateTime={new Date(at).toISOString()} title={time(at)}>
      {text}
    </time>
  );
}

export function Time({ at }: { at: number }) {
  return <time dateTime={new Date(at).toISOString()}>{time(at)}</time>;
}

export function Badge({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

/** A bar from 0 to 1. */
export function Bar({ share, label, tone = "active" }: { share: number; label: string; tone?: Tone }) {
  const percent = Math.round(Math.min(1, Math.max(0, share)) * 100);
  return (
    <div
      class={`bar ${tone}`}
      role="progressbar"
      aria-label={label}
      aria-valuenow={percent}
      aria-valuemin={0}
      aria-valuemax={100}
    >
      <div style={{ width: `${percent}%` }} />
    </div>
  );
}

interface UnfoldProps {
  summary: ComponentChildren;
  class?: string;
  /** Made when it is opened for the first time. */
  children: () => ComponentChildren;
}

/** Something that is fetched or drawn only for who opens it. */
export function Unfold({ summary, children, ...rest }: UnfoldProps) {
  const opened = useSignal(false);
  return (
    <details {...rest} onToggle={(event) => (opened.value ||= event.currentTarget.open)}>
      <summary>{summary}</summary>
      {opened.value && children()}
    </details>
  );
}

interface EmptyProps {
  icon: IconName;
  title: string;
  /** Whether it stands for the whole page: then its title is the page's and the document's. */
  page?: boolean;
  children?: ComponentChildren;
}

export function Empty({ icon, title, page = false, children }: EmptyProps) {
  useTitle(page ? title : undefined);
  return (
    <div class="empty">
      <div class="empty-icon">
        <Icon name={icon} />
      </div>
      {page ? <h1 tabIndex={-1}>{title}</h1> : <h2>{title}</h2>}
      {children}
    </div>
  );
}

/** The head of a page: its title, which is the document's too, and its actions. */
interface HeadProps {
  title: string;
  /** Before the title, e.g. a link back. */
  above?: ComponentChildren;
  below?: ComponentChildren;
  children?: ComponentChildren;
}

export function Head({ title, above, below, children }: HeadProps) {
  useTitle(title);
  return (
    <header class="head">
      <div>
        {above}
        <h1 tabIndex={-1}>{title}</h1>
        {below}
      </div>
      {children && <div class="actions">{children}</div>}
    </header>
  );
}

function useTitle(title: string | undefined): void {
  useEffect(() => {
    if (title) document.title = `${named(title)} · Homeport`;
  }, [title]);
}

/** Terms and what they are, for facts of a thing. */
export function Facts({ facts }: { facts: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {facts.map(([term, value]) => (
        <div key={term}>
          <dt>{term}</dt>
          <dd>{value || <span class="muted">not known</span>}</dd>
        </div>
      ))}
    </dl>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <div class="loading" role="status">
      <span class="spinner" aria-hidden="true" />
      <p>Loading {what}…</p>
    </div>
  );
}
