// A stand-in for the server with an invented fleet, to look at the page while working on it: `npm run mock`.
// It keeps nothing, checks nothing, and is no substitute for the tests against the real server in e2e/.

import { readFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import { join, normalize } from "node:path";
import type { CreatedPairingToken, Event, Page, Session } from "../src/api/types";
import {
  audit,
  bundles,
  deployments,
  devices,
  groups,
  history,
  progresses,
  projects,
  telemetry,
  tokens,
  user,
  users,
} from "./fleet";

const PORT = Number(process.env["PORT"] ?? 8080);
const DIST = join(process.cwd(), "dist");
const SAMPLE_EVERY_MS = 2000;
const TYPES: Record<string, string> = {
  html: "text/html",
  js: "text/javascript",
  css: "text/css",
  svg: "image/svg+xml",
};

const empty = process.argv.includes("--empty");
const listeners = new Set<ServerResponse>();

function send(event: Event): void {
  for (const listener of listeners) listener.write(`data: ${JSON.stringify(event)}\n\n`);
}

setInterval(() => {
  const to = Date.now();
  for (const device of devices.filter(({ online }) => online)) {
    send({ type: "telemetry", device: device.id, series: telemetry(to - SAMPLE_EVERY_MS, to, 1) });
  }
  const [running] = progresses;
  if (running && !empty) {
    running.percent = (running.percent + 1) % 100;
    running.updated_ms = to;
    send({ type: "update", update: running });
  }
}, SAMPLE_EVERY_MS);

function page<T>(items: T[]): Page<T> {
  return { items: empty ? [] : items };
}

function answer(method: string, url: URL): unknown {
  const [section, id, sub, update] = url.pathname.replace("/api/v1/", "").split("/").map(decodeURIComponent);
  switch (`${method} ${section}`) {
    case "GET session":
      return user;
    case "POST session":
      return { token: "x", user, expires_ms: Date.now() + 3_600_000 } satisfies Session;
    case "GET users":
      if (sub === "tokens") return page(tokens);
      return id ? users.find(({ name }) => name === id) : page(users);
    case "GET projects":
      return page(projects);
    case "GET devices":
      if (sub === "telemetry") {
        const from = Number(url.searchParams.get("from_ms"));
        return telemetry(from, Number(url.searchParams.get("to_ms")), Number(url.searchParams.get("points")));
      }
      if (sub === "updates") {
        const own = progresses.filter(({ device }) => device === id);
        const one = own.find((row) => row.id === Number(update));
        return one ? { ...one, history: history(one) } : page(own);
      }
      return id ? devices.find((device) => device.id === id) : page(devices);
    case "GET groups":
      return page(groups);
    case "GET bundles":
      return page(bundles);
    case "GET deployments":
      if (sub === "devices") return page(progresses.filter(({ deployment }) => deployment === Number(id)));
      return id ? deployments.find((one) => one.id === Number(id)) : page(deployments);
    case "GET audit":
      return page(audit);
    case "GET pairing-tokens":
      return page([]);
    case "POST pairing-tokens":
      return {
        id: 7,
        created_ms: Date.now(),
        created_by: "admin",
        expires_ms: Date.now() + 3_600_000,
        token: "homeport://fleet.example.com:8443/3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/c2VjcmV0c2VjcmV0c2VjcmV0",
      } satisfies CreatedPairingToken;
    default:
      return undefined;
  }
}

createServer(async (request, response) => {
  const url = new URL(request.url ?? "/", "http://localhost");
  response.setHeader("Content-Security-Policy", "default-src 'self'");
  if (url.pathname === "/api/v1/events") {
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    response.write(": hello\n\n");
    listeners.add(response);
    request.on("close", () => listeners.delete(response));
    return;
  }
  if (url.pathname.startsWith("/api/")) {
    request.resume();
    const found = answer(request.method ?? "GET", url);
    const problem = { type: "mock", title: "Not here", status: 404, detail: "The stand-in server cannot do this." };
    response.writeHead(found ? 200 : 404, { "Content-Type": "application/json" });
    response.end(JSON.stringify(found ?? problem));
    return;
  }
  const path = url.pathname === "/" ? "index.html" : normalize(url.pathname).replace(/^\/+/, "");
  try {
    const body = await readFile(join(DIST, path));
    response.writeHead(200, { "Content-Type": TYPES[path.split(".").at(-1) ?? ""] ?? "application/octet-stream" });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
}).listen(PORT, "127.0.0.1", () => console.log(`http://127.0.0.1:${PORT}/`));
