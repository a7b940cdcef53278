// A device's console in a real Chromium against the real server. The tests build on each other, in order.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before } from "node:test";
import type { Browser, Page } from "playwright-core";
import { inspect, launch, logIn, open, SIZES, type Watched } from "./browser";
import { chain } from "./chain";
import { Device } from "./device";
import { Server } from "./server";

const server = new Server();
let browser: Browser;
let desk: Watched;
let page: Page;
let device: Device;

before(async () => {
  await server.start();
  browser = await launch();
  desk = await open(browser, server.url);
  page = desk.page;
  await logIn(page, server.password);
});

after(async () => {
  await device?.disconnect();
  await browser?.close();
  await server.remove();
});

const test = chain();

const input = () => page.getByLabel("Command", { exact: true });
const runs = () => page.locator(".runs > li");

/** The next call that the device gets, which it begins. */
async function begun(name: string, run: number): Promise<{ id: string; arguments: unknown }> {
  for (;;) {
    const { kind, id, body } = await device.command();
    if (kind !== "call" || !id) continue;
    assert.equal(body?.name, name);
    await device.callBegun(id, run);
    return { id, arguments: JSON.parse(body?.arguments ?? "null") };
  }
}

test("a device tells what it allows, and the console offers that", async () => {
  await page.getByRole("button", { name: "Make a pairing token" }).click();
  await page.getByRole("button", { name: "Make the token" }).click();
  const command = (await page.getByTestId("pair-command").textContent()) ?? "";
  device = await Device.pair(command.replace("homeport-agent pair ", ""), "gate");
  await device.connect(server.mqtt);
  await device.inventory({
    agent_version: "0.1.0",
    hostname: "gate",
    boot_id: "1",
    capabilities: ["deploy", "cancel", "inventory", "call", "stop"],
    commands: [
      { name: "ps", policy: "allowed" },
      { name: "ping", policy: "allowed" },
      { name: "run", policy: "depends" },
      { name: "reboot", policy: "denied" },
    ],
  });
  await page.getByRole("link", { name: "Open the device" }).click();
  await page.getByText(/^online from/).waitFor();
  await page.getByText("No command yet.").waitFor();
  await input().fill("re");
  await page.getByRole("button", { name: "reboot the device does not allow it" }).waitFor();
  assert.ok(await page.getByRole("button", { name: /^reboot/ }).isDisabled());
  await inspect(page, "console-empty-desktop-light");
});

test("a line is completed, checked and run, and its result is a table", async () => {
  await input().fill("ps force=true");
  await input().press("Enter");
  await page.getByRole("alert").filter({ hasText: "ps takes no argument force" }).waitFor();
  await input().fill("p");
  await input().press("Tab");
  assert.equal(await input().inputValue(), "ping ");
  await input().fill("ps");
  await input().press("Enter");
  const { id } = await begun("ps", 1);
  await runs().first().getByText("Running").waitFor();
  const process = (pid: number, name: string, memory_bytes: number) => ({
    ...{ pid, parent: 0, user: "root", state: "S", memory_bytes, cpu_s: 1.5, cpu_percent: 0.1 },
    ...{ name, arguments: "\u{202e}x" },
  });
  const processes = [process(1, "init", 4_000_000), process(9, "app", 90_000_000)];
  const result = JSON.stringify({ processes, left_out: 0 });
  await device.callEnded(id, 1, { outcome: "succeeded", result, dropped_bytes: 0 });
  await runs().first().getByText("Succeeded").waitFor();
  const table = page.getByRole("table");
  await table.waitFor();
  assert.equal(await table.locator("tbody td").first().textContent(), "1");
  await table.getByRole("button", { name: "pid" }).click();
  await table.getByRole("button", { name: "pid" }).click();
  await table.getByText("9", { exact: true }).waitFor();
  assert.equal(await table.locator("tbody td").first().textContent(), "9");
  await page.getByText("Raw JSON").click();
  await page.getByText('"memory_bytes": 90000000').waitFor();
  await inspect(page, "console-table-desktop-light");
});

test("output comes while the program writes it, and a restart of the server does not end it", async () => {
  await input().fill('run selftest arguments=["--quick"]');
  await input().press("Enter");
  const call = await begun("run", 2);
  assert.deepEqual(call.arguments, { program: "selftest", arguments: ["--quick"] });
  const euro = Buffer.from("€\n");
  await device.callOutput(call.id, 2, "stdout", euro.subarray(0, 1));
  await device.callOutput(call.id, 2, "stderr", Buffer.from("\u{1b}[31mwarning\n"));
  await device.callOutput(call.id, 2, "stdout", euro.subarray(1));
  const log = page.getByRole("log", { name: "Output" });
  await log.getByText("€", { exact: true }).waitFor();
  await log.locator(".stderr").getByText("\u{fffd}[31mwarning").waitFor();
  await inspect(page, "console-output-desktop-light");

  desk.expect(/./);
  await device.disconnect();
  await server.stop();
  await page.getByText("The connection to the server is lost").waitFor();
  await server.start();
  await device.connect(server.mqtt);
  await device.callOutput(call.id, 2, "stdout", Buffer.from("after\n"));
  await device.callEnded(call.id, 2, { outcome: "failed", exit_status: 3, detail: "a lamp is dark", dropped_bytes: 0 });
  await log.getByText("after", { exact: true }).waitFor();
  assert.equal(await log.getByText("€", { exact: true }).count(), 1);
  await runs().first().getByText("Failed").waitFor();
  await runs().first().getByText("a lamp is dark").waitFor();
  await runs().first().getByText("exit status 3").waitFor();
  const download = page.waitForEvent("download");
  await runs().first().getByRole("button", { name: "Download the output" }).click();
  const path = await (await download).path();
  // As it came: bytes of one stream between those of the other.
  const written = [euro.subarray(0, 1), Buffer.from("\u{1b}[31mwarning\n"), euro.subarray(1), Buffer.from("after\n")];
  assert.deepEqual(readFileSync(path), Buffer.concat(written));
});

test("what was typed comes back with the arrow keys, a run is cancelled, and runs again", async () => {
  await input().press("ArrowUp");
  await input().press("ArrowUp");
  assert.equal(await input().inputValue(), "ps");
  await input().press("ArrowDown");
  await input().press("Enter");
  const call = await begun("run", 3);
  await runs().first().getByRole("button", { name: "Cancel" }).click();
  const stop = await device.command();
  assert.equal(stop.kind, "stop");
  await device.callEnded(call.id, 3, { outcome: "cancelled", dropped_bytes: 0 });
  await runs().first().getByText("Cancelled").waitFor();
  await runs().first().getByRole("button", { name: "Run again" }).click();
  const again = await begun("run", 4);
  await device.callEnded(again.id, 4, { outcome: "succeeded", result: "{}", dropped_bytes: 0 });
  await runs().first().getByText("Succeeded").waitFor();
  assert.equal(await runs().count(), 4);
});

test("it fits a narrow phone", async () => {
  await page.setViewportSize({ ...SIZES.phone, width: 360 });
  const closed = page.locator(".runs > li > details:not([open]) > summary");
  while ((await closed.count()) > 0) await closed.first().click();
  await page.getByRole("table").waitFor();
  await inspect(page, "console-phone-light");
});
