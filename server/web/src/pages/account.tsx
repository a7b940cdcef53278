// The logged-in user's own settings.

import { useSignal } from "@preact/signals";
import { api } from "../api/client";
import { ownGrants, ownName } from "../state";
import { Button, ErrorNote, say, useTask } from "../ui/action";
import { Head } from "../ui/bits";
import { Roles } from "./people";
import { AccessTokens } from "./tokens";

const PASSWORD_MIN = 12;
const PASSWORD_MAX = 256;

export function Account() {
  const user = ownName();
  return (
    <>
      <Head title="Account" below={<p class="muted">Logged in as {user}</p>} />
      <div class="columns">
        <div class="column wide">
          <AccessTokens user={user} makes />
        </div>
        <div class="column">
          <section class="card">
            <h2>Your roles</h2>
            <Roles grants={ownGrants()} />
          </section>
          <PasswordForm user={user} />
        </div>
      </div>
    </>
  );
}

function PasswordForm({ user }: { user: string }) {
  const { busy, error, run } = useTask();
  const mismatch = useSignal(false);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const data = new FormData(form);
    const next = String(data.get("new"));
    mismatch.value = next !== String(data.get("again"));
    if (mismatch.value) return;
    void run(async () => {
      await api.changePassword(String(data.get("current")), next);
      form.reset();
      say("good", "Password changed. Your other sessions have ended.");
    });
  };
  return (
    <form class="card" onSubmit={submit}>
      <h2>Change password</h2>
      <input
        class="gone"
        name="username"
        autocomplete="username"
        value={user}
        readOnly
        tabIndex={-1}
        aria-hidden="true"
      />
      <label class="field">
        <span>Present password</span>
        <input name="current" type="password" autocomplete="current-password" required />
      </label>
      <label class="field">
        <span>New password</span>
        <input
          name="new"
          type="password"
          autocomplete="new-password"
          minLength={PASSWORD_MIN}
          maxLength={PASSWORD_MAX}
          required
          aria-describedby="password-hint"
        />
      </label>
      <small id="password-hint" class="muted">
        At least {PASSWORD_MIN} characters. A sentence is easier to remember than a riddle.
      </small>
      <label class="field">
        <span>New password again</span>
        <input name="again" type="password" autocomplete="new-password" required aria-invalid={mismatch.value} />
      </label>
      <ErrorNote text={mismatch.value ? "The two new passwords differ. Type the same one twice." : error.value} />
      <div class="form-foot">
        <Button type="submit" kind="primary" busy={busy.value}>
          Change password
        </Button>
      </div>
    </form>
  );
}
