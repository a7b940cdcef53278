// Everybody who may log in, and programs that have access tokens.

import { useSignal } from "@preact/signals";
import { placeText } from "../access";
import { api } from "../api/client";
import type { CreatedUser, Grant, UserInfo, UserKind } from "../api/types";
import { go, links } from "../route";
import { may, resyncs } from "../state";
import { Button, ErrorNote, useTask } from "../ui/action";
import { Ago, Badge, Head, Loading } from "../ui/bits";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icon";
import { More, usePages } from "../ui/pages";
import { chosenProject, ProjectField } from "../ui/project";
import { SecretDialog } from "../ui/secret";

export const KIND_TEXT: Record<UserKind, string> = { person: "Person", service: "Service" };

export function People() {
  const pages = usePages<UserInfo>(api.users, [resyncs.value]);
  const adding = useSignal(false);
  const shown = pages.items.value;
  const error = pages.error.value;
  return (
    <>
      <Head
        title="People"
        below={<p class="muted">Persons who log in, services with access tokens, and their roles.</p>}
      >
        {may("project.read") && (
          <a class="button" href={links.projects}>
            <Icon name="projects" />
            <span>Projects</span>
          </a>
        )}
        {may("user.change") && (
          <Button icon="plus" kind="primary" onClick={() => (adding.value = true)}>
            New user
          </Button>
        )}
      </Head>
      <ErrorNote text={error} />
      {!shown && !error && <Loading what="the people" />}
      {shown && (
        <div class="card flush">
          <div class="row-head people-cols" aria-hidden="true">
            <span>User</span>
            <span>Roles</span>
            <span>Last login</span>
          </div>
          <ul class="rows" aria-label="People">
            {shown.map((user) => (
              <UserRow key={user.name} user={user} />
            ))}
          </ul>
        </div>
      )}
      <More more={pages.more.value} busy={pages.busy.value} label="Show more" onMore={pages.loadMore} />
      {adding.value && <NewUserDialog onClose={() => (adding.value = false)} />}
    </>
  );
}

function UserRow({ user }: { user: UserInfo }) {
  return (
    <li class="row link people-cols">
      <div>
        <a class="row-link" href={links.person(user.name)}>
          {user.name}
        </a>
        <p class="muted small">
          {KIND_TEXT[user.kind]}
          {user.project && ` of ${user.project}`} {user.disabled && <Badge tone="bad">Disabled</Badge>}
        </p>
      </div>
      <div data-label="Roles">
        <Roles grants={user.grants} />
      </div>
      <div data-label="Last login" class="muted">
        {user.last_login_ms ? <Ago at={user.last_login_ms} /> : user.kind === "service" ? "–" : "never"}
      </div>
    </li>
  );
}

/** Each role and where it holds. */
export function Roles({ grants }: { grants: Grant[] }) {
  if (grants.length === 0) return <span class="muted">no role</span>;
  return (
    <p class="tags">
      {grants.map((grant) => (
        <span key={grant.id} class="tag">
          {grant.role} on {placeText(grant)}
        </span>
      ))}
    </p>
  );
}

function NewUserDialog({ onClose }: { onClose: () => void }) {
  const { busy, error, run } = useTask();
  const made = useSignal<CreatedUser | undefined>(undefined);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const project = chosenProject(form);
    void run(async () => {
      const created = await api.createUser({
        name: String(form.get("name")).trim(),
        kind: form.get("kind") === "service" ? "service" : "person",
        ...(project ? { project } : {}),
      });
      if (created.password) made.value = created;
      else go(links.person(created.user.name));
    });
  };
  if (made.value) {
    const { user, password } = made.value;
    return (
      <SecretDialog
        title={`${user.name} can log in`}
        body="This is the password for the first login. A role comes next: without one, there is nothing to see."
        text={password ?? ""}
        what="the password"
        onClose={() => go(links.person(user.name))}
      />
    );
  }
  return (
    <Dialog title="New user" onClose={onClose}>
      <form class="dialog-body" onSubmit={submit}>
        <label class="field">
          <span>Name</span>
          <input
            name="name"
            pattern="[a-zA-Z0-9._@\-]{1,64}"
            title="Letters, digits and . _ - @, at most 64"
            required
            autocomplete="off"
            autocapitalize="none"
            spellcheck={false}
            autofocus
          />
        </label>
        <fieldset class="choices field">
          <legend>Kind</legend>
          <label class="choice">
            <input type="radio" name="kind" value="person" defaultChecked />
            <span>
              <strong>Person</strong>
              <span class="muted small">Logs in with a password.</span>
            </span>
          </label>
          <label class="choice">
            <input type="radio" name="kind" value="service" />
            <span>
              <strong>Service</strong>
              <span class="muted small">A program: has access tokens and no password.</span>
            </span>
          </label>
        </fieldset>
        <ProjectField label="Managed by the administrators of" none="Everything" />
        <ErrorNote text={error.value} />
        <div class="form-foot">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="primary" busy={busy.value}>
            Make the user
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
