// Projects in forms and lists. A fleet without projects shows nothing of them.

import { holdsEverywhere } from "../access";
import { ownGrants, projects } from "../state";
import { Icon } from "./icon";

interface ProjectFieldProps {
  /** Text of the choice of no project. */
  none: string;
  label?: string;
  value?: string | null | undefined;
  /** Offers no project to everybody, not only to somebody with a role on everything. */
  optional?: boolean;
}

/** Chooses a project as `project` of a form: empty for none. */
export function ProjectField({ none, label = "Project", value, optional = false }: ProjectFieldProps) {
  if (projects.value.length === 0) return null;
  const free = optional || holdsEverywhere(ownGrants());
  return (
    <label class="field">
      <span>{label}</span>
      <select name="project" required={!free}>
        {free ? <option value="">{none}</option> : projects.value.length > 1 && <option value="">Choose one</option>}
        {projects.value.map(({ path }) => (
          <option key={path} value={path} selected={path === value}>
            {path}
          </option>
        ))}
      </select>
    </label>
  );
}

/** The project that was chosen in a form; empty for none. */
export function chosenProject(form: FormData): string {
  return String(form.get("project") ?? "");
}

export function ProjectTag({ project }: { project: string | null | undefined }) {
  if (!project) return null;
  return (
    <span class="tag" title="Project">
      <Icon name="projects" />
      <span class="hidden">Project </span>
      {project}
    </span>
  );
}
