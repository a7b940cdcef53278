// Roles, where they hold, and projects, in words and as values of forms. What somebody may do, the server decides: see `may` in state.ts.

import type { Device, Grant, Role } from "./api/types";

/** The least first: each can do all that those before it can. */
export const ROLES: { role: Role; allows: string }[] = [
  { role: "viewer", allows: "Sees devices, telemetry, groups, bundles and deployments." },
  { role: "operator", allows: "Also renames devices, deploys and cancels, and runs commands." },
  {
    role: "maintainer",
    allows: "Also pairs, moves, revokes and deletes devices, changes groups and bundles, and reads the audit record.",
  },
  { role: "administrator", allows: "Also manages people, roles and projects." },
];

/** Where a role holds: in a project and below, for a group, or everywhere if neither is set. */
export type Place = Pick<Grant, "project" | "group">;

export function placeText({ project, group }: Place): string {
  if (group) return `group ${group}`;
  return project ? `project ${project}` : "everything";
}

/** A place as the value of a form's option; empty for everything. */
export function placeValue({ project, group }: Place): string {
  if (group) return `group:${group}`;
  return project ? `project:${project}` : "";
}

export function parsePlace(value: string): Place {
  const [kind = "", ...rest] = value.split(":");
  return kind ? { [kind]: rest.join(":") } : {};
}

/** Whether one of the roles holds everywhere. */
export function holdsEverywhere(grants: Grant[]): boolean {
  return grants.some(({ project, group }) => !project && !group);
}

/** Whether one of the roles holds for a device, and is this one or one that can do more. */
export function holdsFor(device: Pick<Device, "project" | "groups">, least: Role, grants: Grant[]): boolean {
  const rank = (wanted: Role) => ROLES.findIndex(({ role }) => role === wanted);
  return grants.some(
    ({ role, project, group }) =>
      rank(role) >= rank(least) && (group ? device.groups.includes(group) : isWithin(device.project, project)),
  );
}

/** Whether a project is `above` or below it. Without a project `above`, everything is. */
export function isWithin(project: string | null | undefined, above: string | null | undefined): boolean {
  return !above || project === above || !!project?.startsWith(`${above}/`);
}

/** The whole name of a group for something in `project`: a name without a path is of the same project. */
export function groupName(typed: string, project: string | null | undefined): string {
  return project && !typed.includes("/") ? `${project}/${typed}` : typed;
}
