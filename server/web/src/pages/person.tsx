// One user: roles, access tokens, and what can be done with the account.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { holdsEverywhere, parsePlace, placeText, placeValue, ROLES } from "../access";
import { ApiError, api } from "../api/client";
import type { Grant, Role, UserInfo } from "../api/types";
import { date } from "../format";
import { go, links } from "../route";
import { groups, may, ownGrants, ownName, projects, resyncs } from "../state";
import { named } from "../text";
import { Button, ErrorNote, errorText, IconButton, say, useTask } from "../ui/action";
import { Ago, Badge, Empty, Facts, Head, Loading } from "../ui/bits";
import { ask } from "../ui/dialog";
import { SecretDialog } from "../ui/secret";
import { KIND_TEXT } from "./people";
import { AccessTokens } from "./tokens";

export function Person({ name }: { name: string }) {
  const user = useSignal<UserInfo | undefined>(undefined);
  const error = useSignal<unknown>(undefined);
  const load = async () => {
    try {
      user.value = await api.user(name);
      error.value = undefined;
    } catch (failure) {
      user.value = undefined;
      error.value = failure;
    }
  };
  useEffect(() => void load(), [name, resyncs.value]);
  if (user.value) return <Shown user={user.value} onChange={load} />;
  if (!error.value) return <Loading what="the user" />;
  if (!(error.value instanceof ApiError && error.value.status === 404)) {
    return <ErrorNote text={errorText(error.value)} />;
  }
  return (
    <Empty page icon="people" title="There is no such user">
      <p>
        <a href={links.people}>Back to the people</a>
      </p>
    </Empty>
  );
}

interface ShownProps {
  user: UserInfo;
  /** Fetches the user again. */
  onChange: () => Promise<void>;
}

function Shown({ user, onChange }: ShownProps) {
  const facts: [string, ComponentChildren][] = [
    ["Managed by", `administrators of ${user.project ?? "everything"}`],
    ["Made", date(user.created_ms)],
  ];
  if (user.kind === "person") {
    facts.push(["Last login", user.last_login_ms ? <Ago key="login" at={user.last_login_ms} /> : "never"]);
  }
  return (
    <>
      <Head
        title={user.name}
        above={
          <a class="back" href={links.people}>
            People
          </a>
        }
        below={
          <p class="muted">
            {KIND_TEXT[user.kind]} {user.disabled && <Badge tone="bad">Disabled</Badge>}
          </p>
        }
      />
      <div class="columns">
        <div class="column wide">
          <RolesCard user={user} onChange={onChange} />
          <AccessTokens user={user.name} makes={user.kind === "service"} />
        </div>
        <div class="column">
          <section class="card">
            <h2>Account</h2>
            <Facts facts={facts} />
          </section>
          {/* Somebody who shuts oneself out, or whose session ends before the new password was read, cannot undo it. */}
          {may("user.change") && user.name !== ownName() && <AccountActions user={user} onChange={onChange} />}
        </div>
      </div>
    </>
  );
}

function RolesCard({ user, onChange }: ShownProps) {
  const changes = may("user.change");
  const revoke = (grant: Grant) =>
    ask({
      title: `Take ${grant.role} on ${placeText(grant)} from ${named(user.name)}?`,
      body: <p>It ends at once, in open pages and for access tokens too.</p>,
      confirm: "Take the role away",
      act: async () => {
        await api.revokeGrant(user.name, grant.id);
        await onChange();
      },
    });
  return (
    <section class="card">
      <h2>Roles</h2>
      {user.grants.length === 0 && <p class="muted">No role yet: {user.name} can see and do nothing.</p>}
      <ul class="plain-list" aria-label="Roles">
        {user.grants.map((grant) => (
          <li key={grant.id}>
            <span>
              <strong>{grant.role}</strong> on {placeText(grant)}
            </span>
            {changes && (
              <IconButton
                icon="trash"
                label={`Take away ${grant.role} on ${placeText(grant)}`}
                onClick={() => revoke(grant)}
              />
            )}
          </li>
        ))}
      </ul>
      {changes && <GrantForm user={user} onChange={onChange} />}
    </section>
  );
}

function GrantForm({ user, onChange }: ShownProps) {
  const { busy, error, run } = useTask();
  const role = useSignal<Role>("viewer");
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const place = parsePlace(String(new FormData(event.currentTarget as HTMLFormElement).get("place")));
    void run(async () => {
      await api.grant(user.name, { role: role.value, ...place });
      await onChange();
    });
  };
  return (
    <form onSubmit={submit}>
      <div class="inline-form">
        <label class="field">
          <span>Role</span>
          <select
            value={role.value}
            onChange={(event) => (role.value = ROLES[event.currentTarget.selectedIndex]?.role ?? "viewer")}
          >
            {ROLES.map((one) => (
              <option key={one.role} value={one.role}>
                {one.role}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>On</span>
          <select name="place" required={!holdsEverywhere(ownGrants())}>
            <option value="">{holdsEverywhere(ownGrants()) ? "everything" : "Choose a project or group"}</option>
            {projects.value.length > 0 && (
              <optgroup label="Projects">
                {projects.value.map(({ path }) => (
                  <option key={path} value={placeValue({ project: path })}>
                    {path}
                  </option>
                ))}
              </optgroup>
            )}
            {groups.value.length > 0 && (
              <optgroup label="Groups">
                {groups.value.map(({ name }) => (
                  <option key={name} value={placeValue({ group: name })}>
                    {name}
                  </option>
                ))}
              </optgroup>
            )}
          </select>
        </label>
        <Button type="submit" icon="plus" busy={busy.value}>
          Grant
        </Button>
      </div>
      <p class="muted small">{ROLES.find((one) => one.role === role.value)?.allows}</p>
      <ErrorNote text={error.value} />
    </form>
  );
}

function AccountActions({ user, onChange }: ShownProps) {
  const { busy, error, run } = useTask();
  const password = useSignal<string | undefined>(undefined);
  const name = named(user.name);
  const disable = () =>
    ask({
      title: `Disable ${name}?`,
      body: <p>Sessions and access tokens stop working at once. Roles are kept for when the user is enabled again.</p>,
      confirm: "Disable user",
      act: async () => {
        await api.disableUser(user.name, true);
        await onChange();
      },
    });
  const enable = () =>
    run(async () => {
      await api.disableUser(user.name, false);
      await onChange();
    });
  const reset = () =>
    ask({
      title: `Make a new password for ${name}?`,
      body: <p>The old one stops working. The user's sessions and access tokens end.</p>,
      confirm: "Make a new password",
      act: async () => {
        const made = await api.resetPassword(user.name);
        password.value = made.password ?? undefined;
      },
    });
  const remove = () =>
    ask({
      title: `Delete ${name}?`,
      body: (
        <>
          <p>Sessions, access tokens and roles are deleted. What the user did stays in the audit record.</p>
          <p class="muted">To keep somebody out for a while, disable the user instead.</p>
        </>
      ),
      confirm: "Delete user",
      act: async () => {
        await api.deleteUser(user.name);
        go(links.people);
        say("good", `${name} is deleted.`);
      },
    });
  return (
    <section class="card">
      <h2>Access</h2>
      <div class="stack">
        {user.kind === "person" && <Button onClick={reset}>New password</Button>}
        {user.disabled ? (
          <Button busy={busy.value} onClick={() => void enable()}>
            Enable
          </Button>
        ) : (
          <Button icon="ban" kind="danger" onClick={disable}>
            Disable
          </Button>
        )}
        <Button icon="trash" kind="danger" onClick={remove}>
          Delete
        </Button>
      </div>
      <ErrorNote text={error.value} />
      {password.value && (
        <SecretDialog
          title={`New password for ${name}`}
          body="Hand it over on a safe way. The user can change it after the login."
          text={password.value}
          what="the password"
          onClose={() => (password.value = undefined)}
        />
      )}
    </section>
  );
}
