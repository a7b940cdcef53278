// Lists that come in pages.

import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Page } from "../api/types";
import { Button, errorText } from "./action";

export interface Pages<T> {
  /** Those of the pages that were fetched; none before the first. */
  items: Signal<T[] | undefined>;
  /** Whether there are more. */
  more: Signal<boolean>;
  busy: Signal<boolean>;
  error: Signal<string | undefined>;
  /** Fetches the next page. */
  loadMore: () => void;
}

/** A list that `fetchPage` fetches page by page, and from its beginning again whenever `inputs` change. */
export function usePages<T>(
  fetchPage: (after?: string | null) => Promise<Page<T>>,
  inputs: readonly unknown[],
): Pages<T> {
  const items = useSignal<T[] | undefined>(undefined);
  const more = useSignal(false);
  const busy = useSignal(false);
  const error = useSignal<string | undefined>(undefined);
  const next = useRef<string | null | undefined>(undefined);
  // An answer that another question overtook does not count.
  const turn = useRef(0);
  const load = async (after?: string | null) => {
    turn.current += 1;
    const mine = turn.current;
    busy.value = true;
    try {
      const page = await fetchPage(after);
      if (turn.current !== mine) return;
      items.value = after ? [...(items.value ?? []), ...page.items] : page.items;
      next.current = page.next;
      more.value = !!page.next;
      error.value = undefined;
    } catch (failure) {
      if (turn.current === mine) error.value = errorText(failure);
    } finally {
      if (turn.current === mine) busy.value = false;
    }
  };
  useEffect(() => void load(), inputs);
  return { items, more, busy, error, loadMore: () => void load(next.current) };
}

interface MoreProps {
  more: boolean;
  busy: boolean;
  label: string;
  onMore: () => void;
}

/** The button for the next page, if there is one. */
export function More({ more, busy, label, onMore }: MoreProps) {
  if (!more) return null;
  return (
    <p class="more">
      <Button busy={busy} onClick={onMore}>
        {label}
      </Button>
    </p>
  );
}
