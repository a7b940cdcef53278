// Secrets, which the server shows once.

import { Button, CopyButton } from "./action";
import { Dialog } from "./dialog";

/** A text to copy. */
export function Secret({ text, what, testId }: { text: string; what: string; testId: string }) {
  return (
    <div class="secret">
      <code data-testid={testId}>{text}</code>
      <CopyButton text={text} what={what} />
    </div>
  );
}

interface SecretDialogProps {
  title: string;
  /** What to do with it. */
  body: string;
  text: string;
  what: string;
  onClose: () => void;
}

/** Shows a secret that cannot be shown again. */
export function SecretDialog({ title, body, text, what, onClose }: SecretDialogProps) {
  return (
    <Dialog title={title} onClose={onClose}>
      <div class="dialog-body">
        <p>{body} It is shown only now: copy it before you close this.</p>
        <Secret text={text} what={what} testId="secret" />
        <div class="form-foot">
          <Button kind="primary" onClick={onClose}>
            Close
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
