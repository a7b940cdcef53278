// Which page the address names. The part after `#` is used, so that the server needs to know one page only.

import { signal } from "@preact/signals";

export type Route =
  | { page: "devices" }
  | { page: "device"; id: string }
  | { page: "bundles" }
  | { page: "deployments" }
  | { page: "deployment"; id: number }
  | { page: "audit" }
  | { page: "people" }
  | { page: "person"; name: string }
  | { page: "projects" }
  | { page: "account" }
  | { page: "missing" };

/** Pages that are named by one word. */
const PLAIN = [
  { page: "bundles" },
  { page: "deployments" },
  { page: "audit" },
  { page: "people" },
  { page: "projects" },
  { page: "account" },
] as const;

export function parse(hash: string): Route {
  const [page = "", id, ...rest] = hash
    .replace(/^#?\/?/, "")
    .split("/")
    .map(decode);
  if (rest.length > 0) return { page: "missing" };
  if (page === "devices" && id) return { page: "device", id };
  if (page === "deployments" && id)
    return /^\d{1,15}$/.test(id) ? { page: "deployment", id: Number(id) } : { page: "missing" };
  if (page === "people" && id) return { page: "person", name: id };
  if (id) return { page: "missing" };
  if (page === "" || page === "devices") return { page: "devices" };
  return PLAIN.find((plain) => plain.page === page) ?? { page: "missing" };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const links = {
  devices: "#/devices",
  device: (id: string) => `#/devices/${encodeURIComponent(id)}`,
  bundles: "#/bundles",
  deployments: "#/deployments",
  deployment: (id: number) => `#/deployments/${id}`,
  audit: "#/audit",
  people: "#/people",
  person: (name: string) => `#/people/${encodeURIComponent(name)}`,
  projects: "#/projects",
  account: "#/account",
};

export const route = signal<Route>({ page: "devices" });

export function watchRoute(): void {
  const read = () => {
    route.value = parse(location.hash);
  };
  addEventListener("hashchange", read);
  read();
}

export function go(link: string): void {
  location.hash = link;
}
