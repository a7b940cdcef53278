// Projects: parts of the fleet that are kept apart.

import { useEffect } from "preact/hooks";
import { api } from "../api/client";
import type { Project } from "../api/types";
import { count } from "../format";
import { links } from "../route";
import { may, projects, refetchProjects } from "../state";
import { Button, ErrorNote, errorText, IconButton, say, useTask } from "../ui/action";
import { Empty, Head } from "../ui/bits";
import { ask } from "../ui/dialog";

const PATH_PATTERN = "[a-z0-9\\-]{1,32}(/[a-z0-9\\-]{1,32}){0,3}";
const PATH_HINT = "1 to 4 names of small letters, digits and hyphens, joined by /";

export function Projects() {
  // The devices that are counted may have moved since.
  useEffect(() => {
    refetchProjects().catch((failure: unknown) => say("bad", errorText(failure)));
  }, []);
  return (
    <>
      <Head
        title="Projects"
        above={
          <a class="back" href={links.devices}>
            Devices
          </a>
        }
        below={
          <p class="muted">
            Parts of the fleet that are kept apart, such as customers. A role on a project holds below it too.
          </p>
        }
      />
      {may("project.change") && <NewProjectForm />}
      {projects.value.length === 0 ? (
        <Empty icon="projects" title="No project yet">
          <p class="muted">Without projects, a role holds for the whole fleet or for a group.</p>
        </Empty>
      ) : (
        <div class="card flush">
          <ul class="rows" aria-label="Projects">
            {projects.value.map((project) => (
              <ProjectRow key={project.path} project={project} />
            ))}
          </ul>
        </div>
      )}
    </>
  );
}

function ProjectRow({ project: { path, devices } }: { project: Project }) {
  const remove = () =>
    ask({
      title: `Delete project ${path}?`,
      body: <p>Only an empty project can be deleted. Roles on it and access tokens for it end.</p>,
      confirm: "Delete project",
      act: async () => {
        await api.deleteProject(path);
        await refetchProjects();
      },
    });
  return (
    <li class="row project-cols">
      <strong>{path}</strong>
      <span class="muted">{count(devices, "device")}</span>
      {may("project.change") && <IconButton icon="trash" label={`Delete project ${path}`} onClick={remove} />}
    </li>
  );
}

function NewProjectForm() {
  const { busy, error, run } = useTask();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const path = String(new FormData(form).get("path"));
    void run(async () => {
      await api.createProject(path);
      await refetchProjects();
      form.reset();
    });
  };
  return (
    <form class="card new-project" onSubmit={submit}>
      <div class="inline-form">
        <label class="field">
          <span>New project</span>
          <input
            name="path"
            pattern={PATH_PATTERN}
            title={PATH_HINT}
            placeholder="acme or acme/plant-1"
            required
            autocomplete="off"
            autocapitalize="none"
            spellcheck={false}
          />
        </label>
        <Button type="submit" icon="plus" busy={busy.value}>
          Add
        </Button>
      </div>
      <ErrorNote text={error.value} />
    </form>
  );
}
