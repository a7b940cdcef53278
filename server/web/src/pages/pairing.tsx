// Making a pairing token, and watching the device come.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { api } from "../api/client";
import type { CreatedPairingToken, Device, PairingTokenInfo } from "../api/types";
import { countdown, duration } from "../format";
import { links } from "../route";
import { fleet, now } from "../state";
import { named } from "../text";
import { Button, ErrorNote, errorText, IconButton, useTask } from "../ui/action";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icon";
import { chosenProject, ProjectField } from "../ui/project";
import { Secret } from "../ui/secret";

const LIFETIMES_S = [3600, 86_400, 7 * 86_400, 30 * 86_400];

interface PairingProps {
  /** Pair this device again instead of a new one. */
  again?: Device;
  onClose: () => void;
}

export function PairingDialog({ again, onClose }: PairingProps) {
  const created = useSignal<CreatedPairingToken | undefined>(undefined);
  const title = again ? `Pair ${named(again.name)} again` : "Pair a device";
  return (
    <Dialog title={title} onClose={onClose}>
      {created.value ? (
        <Ready token={created.value} onClose={onClose} />
      ) : (
        <Ask again={again} onCreated={(token) => (created.value = token)} />
      )}
    </Dialog>
  );
}

interface AskProps {
  again: Device | undefined;
  onCreated: (token: CreatedPairingToken) => void;
}

function Ask({ again, onCreated }: AskProps) {
  const { busy, error, run } = useTask();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const name = String(form.get("name") ?? "").trim();
    void run(async () => {
      onCreated(
        await api.createPairingToken({
          ttl_seconds: Number(form.get("lifetime")),
          ...(name ? { device_name: name } : {}),
          ...(again ? { device: again.id } : {}),
          // Where none is chosen, the server would choose.
          ...(form.has("project") ? { project: chosenProject(form) } : {}),
        }),
      );
    });
  };
  return (
    <>
      <form onSubmit={submit} class="dialog-body">
        {again ? (
          <p>
            The device keeps its name, groups and history. As soon as it pairs again, its old certificate is revoked.
          </p>
        ) : (
          <>
            <label class="field">
              <span>
                Name <span class="muted">(optional)</span>
              </span>
              <input name="name" maxLength={128} placeholder="the device's host name" autocomplete="off" />
            </label>
            <ProjectField none="none" />
          </>
        )}
        <label class="field">
          <span>Token works for</span>
          <select name="lifetime">
            {LIFETIMES_S.map((seconds) => (
              <option key={seconds} value={seconds}>
                {duration(seconds * 1000)}
              </option>
            ))}
          </select>
        </label>
        <ErrorNote text={error.value} />
        <div class="form-foot">
          <Button type="submit" kind="primary" busy={busy.value}>
            Make the token
          </Button>
        </div>
      </form>
      {!again && <OpenTokens />}
    </>
  );
}

function Ready({ token, onClose }: { token: CreatedPairingToken; onClose: () => void }) {
  const usedBy = useSignal<string | undefined>(undefined);
  const known = fleet.value.devices;
  // Changes when a device was paired, for the first time or again, and not with all the other news.
  const certificates = [...known.values()].map((device) => device.certificate_sha256).join();
  // A device that appears may have come with another token: the token's own record tells.
  useEffect(() => {
    if (usedBy.value) return;
    void api
      .newestPairingTokens()
      .then((tokens) => {
        usedBy.value = tokens.items.find(({ id }) => id === token.id)?.used_by ?? undefined;
      })
      .catch(() => {
        // Asked again with the next change; the token itself is shown all the same.
      });
  }, [certificates, token.id, usedBy]);

  // By this machine's clock, which may differ from the server's.
  const shownAt = useRef(Date.now());
  const lifetime = token.expires_ms - token.created_ms;
  const left = Math.min(lifetime, shownAt.current + lifetime - now.value);
  const device = usedBy.value ? known.get(usedBy.value) : undefined;
  const command = `homeport-agent pair ${token.token}`;
  if (device) {
    return (
      <div class="dialog-body paired" role="status">
        <div class="empty-icon good">
          <Icon name="check" />
        </div>
        <h3>{device.name} is paired</h3>
        <p class="muted">{device.online ? "It is online." : "It connects in a moment."}</p>
        <a class="button primary" href={links.device(device.id)} onClick={onClose}>
          Open the device
        </a>
      </div>
    );
  }
  return (
    <div class="dialog-body">
      <p>Run this on the device. The token is shown only now: copy it before you close this.</p>
      <Secret text={command} what="the command" testId="pair-command" />
      <details>
        <summary>Only the token, for a file or a USB stick</summary>
        <Secret text={token.token} what="the token" testId="pair-token" />
        <p class="muted">
          The agent reads it from <code>/boot/homeport-pairing-token</code> or from the systemd credential{" "}
          <code>homeport.pairing-token</code>.
        </p>
      </details>
      {left > 0 ? (
        <p class="waiting">
          <span class="spinner" aria-hidden="true" />
          <span>
            Waiting for the device. Token expires in <strong class="clock">{countdown(left)}</strong>
          </span>
        </p>
      ) : (
        <p class="note warn">The token has expired. Make a new one.</p>
      )}
      <div class="form-foot">
        <Button onClick={onClose}>Close</Button>
      </div>
    </div>
  );
}

/** Tokens that still work, so that a lost one can be taken back. */
function OpenTokens() {
  const tokens = useSignal<PairingTokenInfo[]>([]);
  const error = useSignal<string | undefined>(undefined);
  useEffect(() => {
    api.pairingTokens().then(
      (found) => (tokens.value = found),
      (failure: unknown) => (error.value = errorText(failure)),
    );
  }, [tokens, error]);
  const open = tokens.value.filter((token) => !token.used_by && token.expires_ms > now.value);
  const remove = (id: number) =>
    api.deletePairingToken(id).then(
      () => (tokens.value = tokens.value.filter((token) => token.id !== id)),
      (failure: unknown) => (error.value = errorText(failure)),
    );
  if (open.length === 0) return <ErrorNote text={error.value} />;
  return (
    <section class="open-tokens">
      <h3>Tokens not used yet</h3>
      <ErrorNote text={error.value} />
      <ul>
        {open.map((token) => (
          <li key={token.id}>
            <span>
              {token.device_name || `Token ${token.id}`}{" "}
              <span class="muted">
                {token.project && `for ${token.project}, `}by <bdi>{token.created_by}</bdi>, expires in{" "}
                {countdown(token.expires_ms - now.value)}
              </span>
            </span>
            <IconButton icon="trash" label={`Take back token ${token.id}`} onClick={() => void remove(token.id)} />
          </li>
        ))}
      </ul>
    </section>
  );
}
