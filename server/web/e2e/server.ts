// A real homeport-server with a fresh data directory.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const START_LIMIT_MS = 180_000;

export class Server {
  readonly #program: string;
  readonly #data: string;
  #child: ChildProcess | undefined;
  /** Host and port of HTTPS. */
  https = "127.0.0.1:0";
  mqtt = "127.0.0.1:0";

  constructor() {
    const program = process.env["HOMEPORT_SERVER"];
    if (!program) throw new Error("HOMEPORT_SERVER must name the homeport-server to test");
    this.#program = program;
    this.#data = mkdtempSync(join(tmpdir(), "homeport-web-e2e-"));
  }

  get url(): string {
    return `https://localhost:${this.https.split(":").at(-1)}`;
  }

  get password(): string {
    return readFileSync(join(this.#data, "first-admin-password"), "utf8").trim();
  }

  /** Starts it, on the same ports as before when it ran before. */
  async start(): Promise<void> {
    const child = spawn(
      this.#program,
      [
        ["--data-dir", this.#data],
        ["--https-listen", this.https],
        ["--mqtt-listen", this.mqtt],
        ["--host-name", "localhost"],
        ["--host-name", "127.0.0.1"],
      ].flat(),
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    this.#child = child;
    const listening = new Promise<{ https: string; mqtt: string }>((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error("the server did not start in time")), START_LIMIT_MS);
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`the server ended with status ${code}`)));
      createInterface({ input: child.stdout }).on("line", (line) => {
        const event = JSON.parse(line) as { event: string; https: string; mqtt: string };
        if (event.event !== "listening") return;
        clearTimeout(limit);
        resolve(event);
      });
    });
    const { https, mqtt } = await listening;
    child.removeAllListeners("exit");
    this.https = https;
    this.mqtt = mqtt;
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await ended;
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.#data, { recursive: true, force: true });
  }
}
