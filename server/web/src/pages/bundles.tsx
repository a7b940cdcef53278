// The bundles, and uploading one.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { api, type Upload, uploadBundle } from "../api/client";
import type { Bundle } from "../api/types";
import { bytes, count, duration, rate, shortHash } from "../format";
import { bundleKey } from "../merge";
import { bundles, deployments, forgetBundle, keepBundle, may } from "../state";
import { named } from "../text";
import { Button, CopyButton, ErrorNote, errorText, say } from "../ui/action";
import { Ago, Badge, Bar, Empty, Facts, Head } from "../ui/bits";
import { ask } from "../ui/dialog";
import { Icon } from "../ui/icon";
import { chosenProject, ProjectField, ProjectTag } from "../ui/project";
import { DeployDialog } from "./deploy";

export function Bundles() {
  const deploying = useSignal<Bundle | undefined>(undefined);
  return (
    <>
      <Head
        title="Bundles"
        below={
          <p class="muted">
            Signed updates, made by RAUC. Each device checks the signature with its own keyring: this server cannot make
            a device trust anything.
          </p>
        }
      />
      {may("bundle.change") && <Uploader />}
      {bundles.value.length === 0 ? (
        <Empty icon="bundles" title="No bundle yet">
          {may("bundle.change") && <p class="muted">Upload the .raucb file that your build made.</p>}
        </Empty>
      ) : (
        <ul class="bundle-list" aria-label="Bundles">
          {bundles.value.map((bundle) => (
            <BundleCard key={bundleKey(bundle)} bundle={bundle} onDeploy={() => (deploying.value = bundle)} />
          ))}
        </ul>
      )}
      {deploying.value && <DeployDialog bundle={deploying.value} onClose={() => (deploying.value = undefined)} />}
    </>
  );
}

interface Running {
  file: File;
  sent: number;
  startedMs: number;
  upload: Upload;
}

function Uploader() {
  const running = useSignal<Running | undefined>(undefined);
  const error = useSignal<string | undefined>(undefined);
  const over = useSignal(false);
  const input = useRef<HTMLInputElement>(null);
  const form = useRef<HTMLFormElement>(null);
  // Kept for the next file: it must not go to every project because the form was made anew.
  const project = useRef("");

  // Leaving would break the upload off without a word.
  const active = running.value !== undefined;
  useEffect(() => {
    if (!active) return;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener("beforeunload", warn);
    return () => removeEventListener("beforeunload", warn);
  }, [active]);
  useEffect(() => () => running.peek()?.upload.abort(), [running]);

  const start = async (file: File | undefined) => {
    if (!file || running.value || !form.current?.reportValidity()) return;
    error.value = undefined;
    if (file.size === 0) {
      error.value = `${named(file.name)} is empty. Choose the .raucb file that your build made.`;
      return;
    }
    project.current = chosenProject(new FormData(form.current));
    const upload = uploadBundle(file, project.current, (sent) => {
      if (running.value) running.value = { ...running.value, sent };
    });
    running.value = { file, sent: 0, startedMs: Date.now(), upload };
    try {
      const bundle = await upload.result;
      keepBundle(bundle);
      say("good", `Bundle ${named(bundle.version)} is uploaded.`);
    } catch (failure) {
      const cancelled = failure instanceof DOMException && failure.name === "AbortError";
      if (!cancelled) error.value = `${named(file.name)}: ${errorText(failure)}`;
    } finally {
      running.value = undefined;
    }
  };

  return (
    <section
      class={`card upload ${over.value ? "over" : ""}`}
      aria-label="Upload a bundle"
      onDragOver={(event) => {
        event.preventDefault();
        over.value = true;
      }}
      onDragLeave={() => (over.value = false)}
      onDrop={(event) => {
        event.preventDefault();
        over.value = false;
        void start(event.dataTransfer?.files[0]);
      }}
    >
      {running.value ? (
        <UploadProgress running={running.value} />
      ) : (
        <form ref={form}>
          <ProjectField none="every project" value={project.current} />
          <Icon name="upload" />
          <p>
            <strong>Drop a .raucb file here</strong>
            <span class="muted"> or </span>
          </p>
          <Button kind="primary" onClick={() => input.current?.click()}>
            Choose a file
          </Button>
          <input
            ref={input}
            class="gone"
            type="file"
            accept=".raucb"
            tabIndex={-1}
            aria-label="Bundle file"
            onChange={(event) => {
              const chosen = event.currentTarget.files?.[0];
              void start(chosen);
              event.currentTarget.value = "";
            }}
          />
        </form>
      )}
      <ErrorNote text={error.value} />
    </section>
  );
}

function UploadProgress({ running: { file, sent, startedMs, upload } }: { running: Running }) {
  const elapsed = Date.now() - startedMs;
  const speed = elapsed > 0 ? sent / (elapsed / 1000) : 0;
  const done = sent >= file.size;
  return (
    <div class="upload-progress">
      <p>
        <strong class="clip">{file.name}</strong>
        <span class="muted">
          {done ? "The server checks it…" : `${bytes(sent)} of ${bytes(file.size)}`}
          {!done && speed > 0 && ` · ${rate(speed)} · ${duration(((file.size - sent) / speed) * 1000)} left`}
        </span>
      </p>
      <Bar share={sent / file.size} label={`Upload of ${file.name}`} />
      <Button icon="close" onClick={upload.abort}>
        Cancel upload
      </Button>
    </div>
  );
}

function BundleCard({ bundle, onDeploy }: { bundle: Bundle; onDeploy: () => void }) {
  const using = deployments.value.filter((deployment) => deployment.bundle === bundle.id);
  const open = using.filter((deployment) => !deployment.finished);
  const remove = () =>
    ask({
      title: `Delete bundle ${named(bundle.version)}?`,
      body: (
        <>
          {open.length > 0 && (
            <p class="note bad">
              {count(open.length, "deployment")} with it still {open.length === 1 ? "runs" : "run"}: devices that have
              not finished fetching it will fail.
            </p>
          )}
          <p>The file is removed from this server. Devices that run this version are not touched.</p>
          <p class="muted">To deploy it again you have to upload it again.</p>
        </>
      ),
      confirm: "Delete bundle",
      act: async () => {
        await api.deleteBundle(bundle, open.length > 0);
        forgetBundle(bundle);
        say("good", `Bundle ${named(bundle.version)} is deleted.`);
      },
    });
  return (
    <li class="card bundle">
      <header class="card-head">
        <div>
          <h2 class="version">{bundle.version}</h2>
          <p class="muted">
            <bdi>{bundle.compatible}</bdi> · {bytes(bundle.size)} · uploaded <Ago at={bundle.created_ms} /> by{" "}
            <bdi>{bundle.created_by}</bdi>
          </p>
          <ProjectTag project={bundle.project} />
        </div>
        <div class="actions">
          {open.length > 0 && <Badge tone="active">{count(open.length, "deployment")} running</Badge>}
          {may("bundle.change") && (
            <Button icon="trash" onClick={remove}>
              Delete
            </Button>
          )}
          {may("deployment.create") && (
            <Button icon="deployments" kind="primary" onClick={onDeploy}>
              Deploy
            </Button>
          )}
        </div>
      </header>
      {bundle.description && <p>{bundle.description}</p>}
      <details>
        <summary>Manifest and images</summary>
        <Facts
          facts={[
            ["Build", bundle.build],
            ["Format", bundle.format],
            [
              "SHA-256",
              <span key="sha" class="copyable">
                <code>{shortHash(bundle.id)}…</code>
                <CopyButton text={bundle.id} what="the SHA-256" />
              </span>,
            ],
            [
              "Manifest",
              <span key="manifest" class="copyable">
                <code>{shortHash(bundle.manifest_hash)}…</code>
                <CopyButton text={bundle.manifest_hash} what="the manifest's SHA-256" />
              </span>,
            ],
          ]}
        />
        <ul class="images">
          {bundle.images.map((image) => (
            <li key={`${image.slot_class} ${image.filename}`}>
              <strong>{image.slot_class}</strong>
              <code class="clip">{image.filename}</code>
              <span class="muted">{bytes(image.size)}</span>
              {image.adaptive.map((method) => (
                <Badge key={method} tone="neutral">
                  {method}
                </Badge>
              ))}
            </li>
          ))}
        </ul>
      </details>
    </li>
  );
}
