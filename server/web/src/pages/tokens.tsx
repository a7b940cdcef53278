// Access tokens of one user, with which programs call the API.

import { useSignal } from "@preact/signals";
import { ROLES } from "../access";
import { api } from "../api/client";
import type { AccessToken } from "../api/types";
import { count, date } from "../format";
import { now, resyncs } from "../state";
import { named } from "../text";
import { Button, ErrorNote, IconButton, useTask } from "../ui/action";
import { Ago, Badge } from "../ui/bits";
import { ask, Dialog } from "../ui/dialog";
import { More, usePages } from "../ui/pages";
import { chosenProject, ProjectField } from "../ui/project";
import { SecretDialog } from "../ui/secret";

const LIFETIMES_DAYS = [30, 90, 180, 366];
const LIFETIME_DAYS = 90;

interface AccessTokensProps {
  user: string;
  /** Whether a token may be made: nobody else makes one for a person. */
  makes: boolean;
}

export function AccessTokens({ user, makes }: AccessTokensProps) {
  const changes = useSignal(0);
  const pages = usePages<AccessToken>((after) => api.accessTokens(user, after), [user, changes.value, resyncs.value]);
  const making = useSignal(false);
  const shown = pages.items.value;
  const remove = (token: AccessToken) =>
    ask({
      title: `Revoke the token ${named(token.name)}?`,
      body: <p>Programs that use it are refused at once.</p>,
      confirm: "Revoke token",
      act: async () => {
        await api.deleteAccessToken(user, token.id);
        changes.value += 1;
      },
    });
  return (
    <section class="card" aria-label="Access tokens">
      <header class="card-head">
        <h2>Access tokens</h2>
        {makes && (
          <Button icon="plus" onClick={() => (making.value = true)}>
            New token
          </Button>
        )}
      </header>
      <ErrorNote text={pages.error.value} />
      {shown?.length === 0 && <p class="muted">No token yet. Programs use them to call the API without a password.</p>}
      <ul class="plain-list">
        {shown?.map((token) => (
          <li key={token.id}>
            <div>
              <p>
                <strong>{token.name}</strong> <Expiry at={token.expires_ms} />
              </p>
              <p class="muted small">
                at most {token.role} on {token.project ? `project ${token.project}` : "everything"} ·{" "}
                {token.last_used_ms ? (
                  <>
                    used <Ago at={token.last_used_ms} />
                  </>
                ) : (
                  "never used"
                )}
              </p>
            </div>
            <IconButton icon="trash" label={`Revoke token ${token.name}`} onClick={() => remove(token)} />
          </li>
        ))}
      </ul>
      <More more={pages.more.value} busy={pages.busy.value} label="Show more" onMore={pages.loadMore} />
      {making.value && (
        <NewTokenDialog user={user} onMade={() => (changes.value += 1)} onClose={() => (making.value = false)} />
      )}
    </section>
  );
}

function Expiry({ at }: { at: number }) {
  if (at <= now.value) return <Badge tone="bad">expired {date(at)}</Badge>;
  return <span class="muted small">until {date(at)}</span>;
}

interface NewTokenProps {
  user: string;
  onMade: () => void;
  onClose: () => void;
}

function NewTokenDialog({ user, onMade, onClose }: NewTokenProps) {
  const { busy, error, run } = useTask();
  const secret = useSignal<string | undefined>(undefined);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const project = chosenProject(form);
    const chosen = ROLES.find(({ role }) => role === form.get("role"));
    void run(async () => {
      const made = await api.createAccessToken(user, {
        name: String(form.get("name")).trim(),
        role: chosen?.role ?? "viewer",
        days: Number(form.get("days")),
        ...(project ? { project } : {}),
      });
      secret.value = made.secret;
      onMade();
    });
  };
  if (secret.value) {
    return (
      <SecretDialog
        title="New access token"
        body="The command line takes it from HOMEPORT_TOKEN; other programs send it as “Authorization: Bearer” with each call."
        text={secret.value}
        what="the token"
        onClose={onClose}
      />
    );
  }
  return (
    <Dialog title="New access token" onClose={onClose}>
      <form class="dialog-body" onSubmit={submit}>
        <label class="field">
          <span>Name</span>
          <input name="name" required maxLength={64} placeholder="its program or place" autocomplete="off" autofocus />
        </label>
        <label class="field">
          <span>At most the role</span>
          <select name="role">
            {ROLES.map(({ role }) => (
              <option key={role} value={role}>
                {role}
              </option>
            ))}
          </select>
        </label>
        <ProjectField label="Only in the project" none="all that the user may see" optional />
        <label class="field">
          <span>Works for</span>
          <select name="days">
            {LIFETIMES_DAYS.map((days) => (
              <option key={days} value={days} selected={days === LIFETIME_DAYS}>
                {count(days, "day")}
              </option>
            ))}
          </select>
        </label>
        <ErrorNote text={error.value} />
        <div class="form-foot">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="primary" busy={busy.value}>
            Make the token
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
