// A device as the server sees one: paired over EST, connected over MQTT with its certificate, sending what an agent sends.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decode, encode } from "cborg";
import { connectAsync, type MqttClient } from "mqtt";

interface Command {
  kind: string;
  /** Of a call. */
  id?: string;
  body?: { deployment: number; name?: string; arguments?: string };
}

/** SenML's labels in CBOR (RFC 8428 section 6). */
const LABEL = { baseTime: -3, name: 0, unit: 1, value: 2 };

export class Device {
  readonly id: string;
  readonly #key: Buffer;
  readonly #certificate: Buffer;
  #client: MqttClient | undefined;
  #sequences = { report: 0, telemetry: 0 };
  readonly #queue = Math.floor(Math.random() * 2 ** 48);
  readonly #commands: Command[] = [];
  #arrived: (() => void) | undefined;

  private constructor(id: string, key: Buffer, certificate: Buffer) {
    this.id = id;
    this.#key = key;
    this.#certificate = certificate;
  }

  /** Makes a key, and gets a certificate for it with a pairing token. */
  static async pair(token: string, hostname: string): Promise<Device> {
    const [, , authority = "", , secret = ""] = token.split("/");
    const folder = mkdtempSync(join(tmpdir(), "homeport-web-device-"));
    try {
      const at = (name: string) => join(folder, name);
      const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", at("key")];
      const subject = ["-subj", `/CN=${hostname}/serialNumber=SN-${hostname}`];
      execFileSync("openssl", ["req", "-new", ...curve, ...subject, "-outform", "DER", "-out", at("csr")], {
        stdio: "pipe",
      });
      const answer = await post(`https://${authority}/.well-known/est/simpleenroll`, secret, readFileSync(at("csr")));
      writeFileSync(at("p7"), Buffer.from(answer, "base64"));
      execFileSync("openssl", ["pkcs7", "-inform", "DER", "-in", at("p7"), "-print_certs", "-out", at("crt")]);
      const name = execFileSync("openssl", ["x509", "-in", at("crt"), "-noout", "-subject", "-nameopt", "multiline"]);
      const id = /commonName\s*=\s*(\S+)/.exec(name.toString())?.[1];
      if (!id) throw new Error("the certificate has no common name");
      return new Device(id, readFileSync(at("key")), readFileSync(at("crt")));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  async connect(mqtt: string): Promise<void> {
    const client = await connectAsync(`mqtts://${mqtt}`, {
      clientId: this.id,
      protocolVersion: 5,
      key: this.#key,
      cert: this.#certificate,
      rejectUnauthorized: false,
      reconnectPeriod: 0,
    });
    this.#client = client;
    client.on("message", (_topic, payload) => {
      this.#commands.push(decode(payload) as Command);
      this.#arrived?.();
    });
    await client.subscribeAsync(`hp1/${this.id}/command`, { qos: 1 });
  }

  async inventory(facts: object): Promise<void> {
    await this.#publish("report", { kind: "inventory", body: facts });
  }

  async report(deployment: number, state: string, more: object = {}): Promise<void> {
    await this.#publish("report", { kind: "deployment", body: { deployment, state, at_ms: Date.now(), ...more } });
  }

  /** Begins a call. Its other reports carry the same `run`. */
  async callBegun(id: string, run: number): Promise<void> {
    await this.#publish("report", { kind: "call_begun", body: { id, run } });
  }

  async callOutput(id: string, run: number, stream: "stdout" | "stderr", data: Uint8Array): Promise<void> {
    await this.#publish("report", { kind: "call_output", body: { id, run, stream, data } });
  }

  async callEnded(id: string, run: number, ending: object): Promise<void> {
    await this.#publish("report", { kind: "call_ended", body: { id, run, ...ending } });
  }

  async progress(
    deployment: number,
    state: string,
    percent: number,
    bytes_fetched: number,
    message: string,
  ): Promise<void> {
    const payload = encode({ deployment, state, percent, bytes_fetched, message });
    await this.#client?.publishAsync(`hp1/${this.id}/progress`, Buffer.from(payload), { qos: 0 });
  }

  /** Sends one round of samples: name, unit, value. */
  async telemetry(atMs: number, samples: [name: string, unit: string, value: number][]): Promise<void> {
    const pack = samples.map(([name, unit, value], index) => {
      const record = new Map<number, unknown>();
      if (index === 0) record.set(LABEL.baseTime, atMs / 1000);
      record.set(LABEL.name, name);
      if (unit) record.set(LABEL.unit, unit);
      record.set(LABEL.value, value);
      return record;
    });
    await this.#publish("telemetry", pack);
  }

  /** Waits for the next command. */
  async command(): Promise<Command> {
    for (;;) {
      const command = this.#commands.shift();
      if (command) return command;
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
  }

  async disconnect(): Promise<void> {
    await this.#client?.endAsync();
    this.#client = undefined;
  }

  async #publish(channel: "report" | "telemetry", message: unknown): Promise<void> {
    if (!this.#client) throw new Error("the device is not connected");
    this.#sequences[channel] += 1;
    const payload = encode({ q: this.#queue, s: this.#sequences[channel], m: message });
    await this.#client.publishAsync(`hp1/${this.id}/${channel}`, Buffer.from(payload), { qos: 1 });
  }
}

function post(url: string, secret: string, csr: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      {
        method: "POST",
        auth: `pairing:${secret}`,
        headers: { "Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64" },
        rejectUnauthorized: false,
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => {
          text += part;
        });
        response.on("end", () => {
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`enrolment was refused with ${response.statusCode}: ${text}`));
        });
      },
    );
    sent.on("error", reject);
    sent.end(csr.toString("base64"));
  });
}
