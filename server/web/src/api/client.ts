// Calls of the REST API. Every failure is an ApiError whose text says what happened and what to do.

import { parse } from "../text";
import type {
  AccessToken,
  AuditEntry,
  Bundle,
  Command,
  CommandKind,
  CommandRun,
  CreatedAccessToken,
  CreatedPairingToken,
  CreatedUser,
  Deployment,
  Device,
  DeviceProgress,
  DeviceUpdate,
  Grant,
  Group,
  Health,
  NewAccessToken,
  NewCommand,
  NewDeployment,
  NewGrant,
  NewPairingToken,
  NewUser,
  Page,
  PairingTokenInfo,
  Problem,
  Project,
  Series,
  Session,
  UpdateHistory,
  User,
  UserInfo,
} from "./types";

const BASE = "/api/v1";

/** A call that did not succeed. `status` is 0 when there was no answer. */
export class ApiError extends Error {
  readonly status: number;
  readonly kind: string;
  readonly title: string;

  constructor(problem: Problem) {
    super(problem.detail || problem.title);
    this.name = "ApiError";
    this.status = problem.status;
    this.kind = problem.type;
    this.title = problem.title;
  }
}

/** Called when the server no longer knows the session. */
let onSessionEnd: () => void = () => {};

export function whenSessionEnds(handler: () => void): void {
  onSessionEnd = handler;
}

/** Reads an error answer, whether or not it is a problem document: a proxy in front may answer with anything. */
export function problemFrom(status: number, text: string): Problem {
  try {
    const parsed: unknown = parse(text);
    if (typeof parsed === "object" && parsed !== null && "title" in parsed) {
      const { type, title, detail } = parsed as Partial<Problem>;
      return { type: type ?? "about:blank", title: title ?? "", status, detail: detail ?? "" };
    }
  } catch {
    // Not JSON: described below.
  }
  return {
    type: "about:blank",
    title: `The server answered ${status}`,
    status,
    detail: `The server answered with status ${status} and no explanation. Try again; if it stays so, look at the server's log.`,
  };
}

const NO_ANSWER: Problem = {
  type: "no-answer",
  title: "No answer",
  status: 0,
  detail: "The server did not answer. Check that you are connected to its network, then try again.",
};

async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method, headers: { Accept: "application/json" }, credentials: "same-origin" };
  if (body !== undefined) {
    init.headers = { Accept: "application/json", "Content-Type": "application/json" };
    init.body = JSON.stringify(body);
  }
  if (signal) init.signal = signal;
  let response: Response;
  try {
    response = await fetch(BASE + path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(NO_ANSWER);
  }
  const text = await response.text();
  if (!response.ok) throw failure(response.status, text);
  return text ? parse<T>(text) : (undefined as T);
}

/** How the server is. One in trouble answers 503, and says why all the same. */
async function health(): Promise<Health> {
  const response = await fetch(`${BASE}/health`);
  return parse<Health>(await response.text());
}

/** The kind of problem that a call without a session meets; a wrong password is of another. */
const NOT_LOGGED_IN = "not-logged-in";

function failure(status: number, text: string): ApiError {
  const error = new ApiError(problemFrom(status, text));
  if (error.kind === NOT_LOGGED_IN) onSessionEnd();
  return error;
}

const at = (...parts: (string | number)[]) => `/${parts.map((part) => encodeURIComponent(part)).join("/")}`;

function query(parameters: Record<string, string>): string {
  const set = new URLSearchParams(parameters);
  return set.size > 0 ? `?${set}` : "";
}

/** Items that the server puts into one page at most. */
const PAGE = 200;

/** A page of a list: the first, or the one behind another. */
function page<T>(path: string, after?: string | null, parameters: Record<string, string> = {}): Promise<Page<T>> {
  return call<Page<T>>("GET", path + query(after ? { ...parameters, after } : parameters));
}

/** A whole list. */
async function whole<T>(path: string): Promise<T[]> {
  const items: T[] = [];
  let after: string | null | undefined;
  do {
    const part = await page<T>(path, after, { limit: String(PAGE) });
    items.push(...part.items);
    after = part.next;
  } while (after);
  return items;
}

export const api = {
  login: (user: string, password: string) => call<Session>("POST", "/session", { user, password }),
  health,
  session: () => call<User>("GET", "/session"),
  logout: () => call<void>("DELETE", "/session"),
  changePassword: (current: string, next: string) => call<void>("PUT", "/session/password", { current, new: next }),

  users: (after?: string | null) => page<UserInfo>("/users", after),
  user: (name: string) => call<UserInfo>("GET", at("users", name)),
  createUser: (user: NewUser) => call<CreatedUser>("POST", "/users", user),
  disableUser: (name: string, disabled: boolean) => call<UserInfo>("PATCH", at("users", name), { disabled }),
  deleteUser: (name: string) => call<void>("DELETE", at("users", name)),
  resetPassword: (name: string) => call<CreatedUser>("POST", at("users", name, "password")),
  grant: (name: string, grant: NewGrant) => call<Grant>("POST", at("users", name, "grants"), grant),
  revokeGrant: (name: string, grant: number) => call<void>("DELETE", at("users", name, "grants", grant)),
  accessTokens: (name: string, after?: string | null) => page<AccessToken>(at("users", name, "tokens"), after),
  createAccessToken: (name: string, token: NewAccessToken) =>
    call<CreatedAccessToken>("POST", at("users", name, "tokens"), token),
  deleteAccessToken: (name: string, token: number) => call<void>("DELETE", at("users", name, "tokens", token)),

  projects: () => whole<Project>("/projects"),
  createProject: (path: string) => call<Project>("POST", "/projects", { path }),
  deleteProject: (path: string) => call<void>("DELETE", at("projects", path)),

  pairingTokens: () => whole<PairingTokenInfo>("/pairing-tokens"),
  newestPairingTokens: () => page<PairingTokenInfo>("/pairing-tokens"),
  createPairingToken: (request: NewPairingToken) => call<CreatedPairingToken>("POST", "/pairing-tokens", request),
  deletePairingToken: (id: number) => call<void>("DELETE", at("pairing-tokens", id)),

  devices: () => whole<Device>("/devices"),
  device: (id: string) => call<Device>("GET", at("devices", id)),
  renameDevice: (id: string, name: string) => call<Device>("PATCH", at("devices", id), { name }),
  moveDevice: (id: string, project: string) => call<Device>("PATCH", at("devices", id), { project }),
  revokeDevice: (id: string) => call<Device>("POST", at("devices", id, "revoke")),
  deleteDevice: (id: string) => call<void>("DELETE", at("devices", id)),
  updates: (id: string, after?: string | null) => page<DeviceUpdate>(at("devices", id, "updates"), after),
  updateHistory: (id: string, update: number) => call<UpdateHistory>("GET", at("devices", id, "updates", update)),
  telemetry: (id: string, fromMs: number, toMs: number, points: number, signal: AbortSignal) =>
    call<Series[]>(
      "GET",
      `${at("devices", id, "telemetry")}?from_ms=${fromMs}&to_ms=${toMs}&points=${points}`,
      undefined,
      signal,
    ),

  groups: () => whole<Group>("/groups"),
  createGroup: (name: string) => call<Group>("POST", "/groups", { name }),
  deleteGroup: (name: string) => call<void>("DELETE", at("groups", name)),
  joinGroup: (name: string, device: string) => call<void>("PUT", at("groups", name, "devices", device)),
  leaveGroup: (name: string, device: string) => call<void>("DELETE", at("groups", name, "devices", device)),

  bundles: () => whole<Bundle>("/bundles"),
  /** `force` deletes even a bundle that a deployment still needs. */
  deleteBundle: ({ id, project }: Pick<Bundle, "id" | "project">, force: boolean) =>
    call<void>("DELETE", at("bundles", id) + query({ project: project ?? "", force: String(force) })),

  deployments: (after?: string | null) => page<Deployment>("/deployments", after),
  deployment: (id: number) => call<Deployment>("GET", at("deployments", id)),
  deploymentDevices: (id: number, state: string, after?: string | null) =>
    page<DeviceProgress>(at("deployments", id, "devices"), after, state ? { state } : {}),
  createDeployment: (request: NewDeployment) => call<Deployment>("POST", "/deployments", request),
  cancelDeployment: (id: number) => call<Deployment>("POST", at("deployments", id, "cancel")),

  commandKinds: (device: string) => call<CommandKind[]>("GET", `/command-kinds${query({ device })}`),
  createCommand: (request: NewCommand) => call<Command>("POST", "/commands", request),
  cancelCommand: (id: number) => call<Command>("POST", at("commands", id, "cancel")),
  commandRuns: (device: string, after?: string | null) => page<CommandRun>(at("devices", device, "commands"), after),

  audit: (after?: string | null) => page<AuditEntry>("/audit", after),
};

/** The output of a run from a place on, as lines of JSON: what there is, or until the run has ended if `follows`. */
export async function commandOutput(
  { command, device }: Pick<CommandRun, "command" | "device">,
  from: number,
  follows: boolean,
  signal?: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  const path = at("commands", command, "devices", device, "output");
  const init: RequestInit = { credentials: "same-origin", ...(signal ? { signal } : {}) };
  let response: Response;
  try {
    response = await fetch(BASE + path + query({ from: String(from), follow: String(follows) }), init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(NO_ANSWER);
  }
  if (!response.ok) throw failure(response.status, await response.text());
  return response.body ?? new ReadableStream();
}

/** An upload that runs. `fetch` cannot tell how far an upload is, so this is an XMLHttpRequest. */
export interface Upload {
  result: Promise<Bundle>;
  abort: () => void;
}

/** Sends a bundle for a project, or for all if `project` is empty. `onProgress` gets bytes sent, and once more with the whole size when the
 * server starts to check it. */
export function uploadBundle(file: File, project: string, onProgress: (sent: number) => void): Upload {
  const request = new XMLHttpRequest();
  const result = new Promise<Bundle>((resolve, reject) => {
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.upload.onload = () => onProgress(file.size);
    request.onload = () => {
      if (request.status < 200 || request.status > 299) {
        reject(failure(request.status, request.responseText));
        return;
      }
      resolve(parse<Bundle>(request.responseText));
    };
    request.onerror = () => reject(new ApiError(NO_ANSWER));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    request.open("POST", `${BASE}/bundles${query(project ? { project } : {})}`);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.send(file);
  });
  return { result, abort: () => request.abort() };
}

export const EVENTS_URL = `${BASE}/events`;
