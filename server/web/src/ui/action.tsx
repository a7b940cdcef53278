// Buttons that call the server, and what they say when that fails.

import { signal, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { Icon, type IconName } from "./icon";

export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

interface ButtonProps {
  children: ComponentChildren;
  icon?: IconName;
  kind?: "primary" | "danger" | "quiet";
  type?: "button" | "submit";
  busy?: boolean;
  disabled?: boolean;
  onClick?: () => void;
}

export function Button({
  children,
  icon,
  kind,
  type = "button",
  busy = false,
  disabled = false,
  onClick,
}: ButtonProps) {
  return (
    <button
      type={type}
      class={`button ${kind ?? ""}`}
      disabled={disabled || busy}
      aria-busy={busy}
      {...(onClick ? { onClick } : {})}
    >
      {busy ? <span class="spinner" aria-hidden="true" /> : icon && <Icon name={icon} />}
      <span>{children}</span>
    </button>
  );
}

interface IconButtonProps {
  icon: IconName;
  label: string;
  onClick: () => void;
}

export function IconButton({ icon, label, onClick }: IconButtonProps) {
  return (
    <button type="button" class="icon-button" aria-label={label} title={label} onClick={onClick}>
      <Icon name={icon} />
    </button>
  );
}

/** Runs one task at a time and holds its failure. */
export function useTask() {
  const busy = useSignal(false);
  const error = useSignal<string | undefined>(undefined);
  const run = async (task: () => Promise<void>) => {
    if (busy.value) return;
    busy.value = true;
    error.value = undefined;
    try {
      await task();
    } catch (failure) {
      error.value = errorText(failure);
    } finally {
      busy.value = false;
    }
  };
  return { busy, error, run };
}

export function ErrorNote({ text }: { text: string | undefined }) {
  return (
    <div role="alert" class={text ? "note bad" : "gone"}>
      {text && <Icon name="warning" />}
      {text && <p>{text}</p>}
    </div>
  );
}

/** Copies `text`, and says so. */
export function CopyButton({ text, what }: { text: string; what: string }) {
  const copied = useSignal(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    copied.value = true;
    setTimeout(() => {
      copied.value = false;
    }, COPIED_SHOWN_MS);
  };
  if (!navigator.clipboard) return null;
  return (
    <button type="button" class="button small" onClick={() => void copy()}>
      <Icon name={copied.value ? "check" : "copy"} />
      <span>
        <span aria-live="polite">{copied.value ? "Copied" : "Copy"}</span>
        <span class="hidden"> {what}</span>
      </span>
    </button>
  );
}

const COPIED_SHOWN_MS = 2000;

// --- short messages ---

interface Toast {
  id: number;
  tone: "good" | "bad";
  text: string;
}

const GOOD_SHOWN_MS = 5000;
const toasts = signal<Toast[]>([]);
let nextToast = 1;

/** Says something. What went wrong stays until it is dismissed. */
export function say(tone: Toast["tone"], text: string): void {
  const id = nextToast++;
  toasts.value = [...toasts.value, { id, tone, text }];
  if (tone === "good") setTimeout(() => dismiss(id), GOOD_SHOWN_MS);
}

function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

export function Toasts() {
  // Messages go with the session to which they belong.
  useEffect(
    () => () => {
      toasts.value = [];
    },
    [],
  );
  return (
    <section class="toasts" aria-live="polite" aria-label="Messages">
      {toasts.value.map((toast) => (
        <div key={toast.id} class={`toast ${toast.tone}`} role={toast.tone === "bad" ? "alert" : "status"}>
          <Icon name={toast.tone === "bad" ? "warning" : "check"} />
          <p>{toast.text}</p>
          <IconButton icon="close" label="Dismiss" onClick={() => dismiss(toast.id)} />
        </div>
      ))}
    </section>
  );
}
