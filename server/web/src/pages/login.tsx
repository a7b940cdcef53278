// Logging in, at first and after a session has ended.

import { useEffect } from "preact/hooks";
import { api } from "../api/client";
import { enter } from "../state";
import { Button, ErrorNote, useTask } from "../ui/action";
import { Mark } from "../ui/icon";

export function LoginPage({ expired }: { expired: boolean }) {
  const { busy, error, run } = useTask();
  useEffect(() => {
    document.title = "Log in · Homeport";
  }, []);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    void run(async () => {
      const session = await api.login(String(form.get("user")), String(form.get("password")));
      enter(session.user);
    });
  };
  return (
    <main class="login">
      <Harbour />
      <form class="card login-card" onSubmit={submit}>
        <div class="login-brand">
          <Mark />
          <h1>Homeport</h1>
        </div>
        {expired ? (
          <p class="note warn" role="status">
            Your session has ended. Log in again to go on where you were.
          </p>
        ) : (
          <p class="muted">Log in to look after your devices.</p>
        )}
        <label class="field">
          <span>User</span>
          <input name="user" autocomplete="username" autocapitalize="none" spellcheck={false} required autofocus />
        </label>
        <label class="field">
          <span>Password</span>
          <input name="password" type="password" autocomplete="current-password" required />
        </label>
        <ErrorNote text={error.value} />
        <Button type="submit" kind="primary" busy={busy.value}>
          Log in
        </Button>
        <details class="login-help muted">
          <summary>First time here, or no password?</summary>
          <p>
            At its first start the server wrote a password for the user <code>admin</code> to{" "}
            <code>first-admin-password</code> in its data directory. <code>homeport-server reset-password</code> makes a
            new one.
          </p>
        </details>
      </form>
    </main>
  );
}

/** A light over the water, for looks. */
function Harbour() {
  return (
    <svg class="harbour" viewBox="0 0 1200 600" preserveAspectRatio="xMidYMax slice" aria-hidden="true">
      {[90, 170, 260, 360, 470, 590].map((radius) => (
        <circle key={radius} class="harbour-ring" cx="600" cy="300" r={radius} />
      ))}
      <path class="harbour-sea far" d="M0 430c150-34 300-34 450 0s300 34 450 0 300-34 300-34v204H0z" />
      <path class="harbour-sea mid" d="M0 480c150 30 300 30 450 0s300-30 450 0 300 30 300 30v90H0z" />
      <path class="harbour-sea near" d="M0 540c150-24 300-24 450 0s300 24 450 0 300-24 300-24v84H0z" />
    </svg>
  );
}
