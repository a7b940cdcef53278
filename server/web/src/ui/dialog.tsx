// Dialogs: the browser's own, which keeps the focus inside and closes on Escape.

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useId, useLayoutEffect, useRef } from "preact/hooks";
import { Button, ErrorNote, IconButton, useTask } from "./action";

interface DialogProps {
  title: string;
  children: ComponentChildren;
  onClose: () => void;
}

export function Dialog({ title, children, onClose }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const heading = useId();
  // The browser gives the focus back to where it was when the dialog closes. Not `useEffect`: the dialog would be gone by then.
  useLayoutEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={element}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <header class="dialog-head">
        <h2 id={heading}>{title}</h2>
        <IconButton icon="close" label="Close" onClick={onClose} />
      </header>
      {children}
    </dialog>
  );
}

interface Question {
  title: string;
  /** What happens, and what it breaks. */
  body: ComponentChildren;
  confirm: string;
  act: () => Promise<void>;
}

const question = signal<Question | undefined>(undefined);

/** Asks before `act` does what cannot be undone. */
export function ask(about: Question): void {
  question.value = about;
}

export function Confirmation() {
  // A question goes with the session in which it was asked.
  useEffect(
    () => () => {
      question.value = undefined;
    },
    [],
  );
  const asked = question.value;
  return asked ? <Asked key={asked.title} {...asked} /> : null;
}

function Asked({ title, body, confirm, act }: Question) {
  const { busy, error, run } = useTask();
  const close = () => {
    question.value = undefined;
  };
  const proceed = () =>
    run(async () => {
      await act();
      close();
    });
  return (
    <Dialog title={title} onClose={close}>
      <div class="dialog-body">{body}</div>
      <ErrorNote text={error.value} />
      <footer class="dialog-foot">
        <Button onClick={close}>Keep</Button>
        <Button kind="danger" busy={busy.value} onClick={() => void proceed()}>
          {confirm}
        </Button>
      </footer>
    </Dialog>
  );
}
