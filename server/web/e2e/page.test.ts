// The page in a real Chromium against the real server, as an operator uses it. The tests build on each other, in order.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import type { Browser, Page } from "playwright-core";
import { inspect, launch, logIn, open, type Watched } from "./browser";
import { bundle } from "./bundle";
import { chain } from "./chain";
import { Device } from "./device";
import { Server } from "./server";

const NEW_PASSWORD = "a lamp over the harbour";
const COMPATIBLE = "homeport-test-board";
const MB = 1_000_000;

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
});

after(async () => {
  await device?.disconnect();
  await browser?.close();
  await server.remove();
});

const test = chain();

const heading = (name: string | RegExp, at = page) => at.getByRole("heading", { name, level: 1 });
const section = (name: string, at = page) => at.getByRole("navigation").getByRole("link", { name }).click();
const dialog = () => page.getByRole("dialog");

test("a wrong password is refused with a reason, the right one lets in", async () => {
  await heading("Homeport").waitFor();
  await inspect(page, "login-desktop-light");
  await page.getByLabel("User").fill("admin");
  await page.getByLabel("Password").fill("wrong");
  await page.getByRole("button", { name: "Log in" }).click();
  await page
    .getByRole("alert")
    .filter({ hasText: /password/i })
    .waitFor();
  await logIn(page, server.password);
  await heading("Devices").waitFor();
});

test("the session survives a reload, and the page comes back where it was", async () => {
  await section("Audit");
  await heading("Audit").waitFor();
  await page.reload();
  await heading("Audit").waitFor();
  await section("Devices");
});

test("an empty fleet explains pairing; a token is shown once, copied, and paired with", async () => {
  await page.getByRole("heading", { name: "Pair your first device" }).waitFor();
  await inspect(page, "empty-desktop-light");
  await page.getByRole("button", { name: "Make a pairing token" }).click();
  await dialog().getByLabel(/^Name/).fill("Press line 3");
  await dialog().getByRole("button", { name: "Make the token" }).click();
  const command = (await page.getByTestId("pair-command").textContent()) ?? "";
  assert.match(command, /^homeport-agent pair homeport:\/\/localhost:\d+\/[\w-]{43}\/[\w-]{27}$/);
  await dialog().getByRole("button", { name: "Copy the command" }).click();
  await dialog().getByRole("button", { name: "Copied the command" }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), command);
  assert.match((await dialog().locator(".clock").textContent()) ?? "", /^(1:00:00|59:\d\d)$/);
  await inspect(page, "pairing-desktop-light");

  device = await Device.pair(command.replace("homeport-agent pair ", ""), "board-1");
  await dialog().getByRole("heading", { name: "Press line 3 is paired" }).waitFor();
  await dialog().getByRole("link", { name: "Open the device" }).click();
  await heading("Press line 3").waitFor();
  await page.getByText(device.id).waitFor();
});

test("a device comes online, and its slots and charts follow it live", async () => {
  await device.connect(server.mqtt);
  await device.inventory({
    agent_version: "0.1.0",
    os: "Debian GNU/Linux 13 (trixie)",
    os_version: "1.0.0",
    kernel: "6.12.57-amd64",
    architecture: "x86_64",
    hostname: "board-1",
    serial: "SN-board-1",
    model: "Reference board",
    boot_id: "00000000-0000-0000-0000-000000000001",
    updater: "rauc 1.13",
    compatible: COMPATIBLE,
    slots: [
      {
        name: "rootfs.0",
        bootname: "A",
        state: "booted",
        boot_status: "good",
        version: "1.0.0",
        installed_at: "2026-11-01T10:00:00Z",
      },
      { name: "rootfs.1", bootname: "B", state: "inactive", boot_status: "good", version: "", installed_at: "" },
    ],
  });
  await page.getByText(/^online from/).waitFor();
  await page.getByRole("listitem").filter({ hasText: "rootfs.0" }).getByText("Running").waitFor();
  await page.getByText("No samples in this time.").waitFor();

  const start = Date.now() - 10 * 60_000;
  for (let round = 0; round < 60; round += 1) {
    await device.telemetry(start + round * 10_000, samples(round));
  }
  await page.getByRole("img", { name: /^CPU over time; last: busy 25 %/ }).waitFor();
  await page.getByRole("img", { name: /^Memory over time; last: used 1\.50 GB of 2\.00 GB/ }).waitFor();
  await page.getByRole("img", { name: /^Disk used over time; last: \/ 38 %/ }).waitFor();
  await page.getByRole("img", { name: /^Temperature over time; last: cpu 48\.0 °C/ }).waitFor();
  await page
    .getByRole("img", { name: /^Network over time; last: eth0 in 5\.00 kB\/s, eth0 out 1\.00 kB\/s/ })
    .waitFor();

  for (const range of ["1 h", "24 h", "7 d"]) {
    await page.getByRole("button", { name: range }).click();
    await page.getByRole("img", { name: /^CPU over time/ }).waitFor();
  }
  await page.getByRole("button", { name: "15 min" }).click();
});

function samples(round: number): [string, string, number][] {
  return [
    ["cpu.busy", "/", round === 59 ? 0.25 : 0.1 + 0.05 * Math.sin(round / 4)],
    ["cpu.load1", "", 0.4],
    ["memory.total", "B", 2000 * MB],
    ["memory.available", "B", 500 * MB],
    ["disk.root.total", "B", 1600 * MB],
    ["disk.root.available", "B", 1000 * MB],
    ["temperature.cpu", "Cel", 48],
    ["network.eth0.rx", "B", round * 50_000],
    ["network.eth0.tx", "B", round * 10_000],
    ["uptime", "s", round * 10],
  ];
}

test("a device is renamed, put in a group, found by search and filter", async () => {
  await page.getByRole("button", { name: "Rename" }).click();
  await dialog().getByLabel("Name").fill("Press line 4");
  await dialog().getByRole("button", { name: "Rename" }).click();
  await heading("Press line 4").waitFor();

  await page.getByRole("button", { name: "Add to a group" }).click();
  await page.getByLabel("Group to join").fill("plant-celle");
  await page.getByRole("button", { name: "Join" }).click();
  await page.getByRole("button", { name: "Leave group plant-celle" }).waitFor();

  await section("Devices");
  const row = page.getByRole("list", { name: "Devices" }).getByRole("link", { name: "Press line 4" });
  await row.waitFor();
  await page.getByLabel("Search devices").fill("nobody");
  await page.getByRole("heading", { name: "No device matches" }).waitFor();
  await page.getByLabel("Search devices").fill("sn-BOARD reference");
  await row.waitFor();
  await page.getByLabel(/^Group/).selectOption("plant-celle");
  await row.waitFor();
  await page.getByRole("button", { name: /^Offline/ }).click();
  await page.getByRole("heading", { name: "No device matches" }).waitFor();
  await page.getByRole("button", { name: "Show all" }).click();
  await row.waitFor();
});

test("what is no bundle is refused with a reason; a bundle is uploaded by chooser and by drop", async () => {
  await section("Bundles");
  await page.getByRole("heading", { name: "No bundle yet" }).waitFor();
  desk.expect(/\/api\/v1\/bundles$/);
  const chooser = page.getByLabel("Bundle file");
  await chooser.setInputFiles({
    name: "holiday.raucb",
    mimeType: "application/octet-stream",
    buffer: Buffer.alloc(8192, 7),
  });
  await page
    .getByRole("alert")
    .filter({ hasText: "holiday.raucb: " })
    .filter({ hasText: /not a RAUC bundle/i })
    .waitFor();

  await chooser.setInputFiles({
    name: "b.raucb",
    mimeType: "application/octet-stream",
    buffer: bundle("1.1.0", COMPATIBLE, 512),
  });
  await page.getByRole("heading", { name: "1.1.0", exact: true }).waitFor();
  await page.getByText("Manifest and images").click();
  await page.getByText("rootfs.ext4").waitFor();
  await page.getByText("block-hash-index").waitFor();

  const dropped = [...bundle("2.0.0", "another-board", 16)];
  const transfer = await page.evaluateHandle((bytes) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(bytes)], "dropped.raucb"));
    return transfer;
  }, dropped);
  await page.getByRole("region", { name: "Upload a bundle" }).dispatchEvent("drop", { dataTransfer: transfer });
  await page.getByRole("heading", { name: "2.0.0", exact: true }).waitFor();
});

test("an upload that is cancelled leaves nothing", async () => {
  // Held on its way, so that there is time to cancel.
  await page.route("**/api/v1/bundles", (route) =>
    route.request().method() === "POST" ? undefined : route.fallback(),
  );
  await page
    .getByLabel("Bundle file")
    .setInputFiles({ name: "slow.raucb", mimeType: "application/octet-stream", buffer: Buffer.alloc(MB) });
  await page.getByRole("progressbar", { name: "Upload of slow.raucb" }).waitFor();
  await page.getByRole("button", { name: "Cancel upload" }).click();
  await page.getByRole("button", { name: "Choose a file" }).waitFor();
  await page.unroute("**/api/v1/bundles");
  assert.equal(await page.getByRole("list", { name: "Bundles" }).getByRole("heading").count(), 2);
});

test("a bundle for another board is pointed out before it is deployed", async () => {
  await section("Deployments");
  await page.getByRole("button", { name: "New deployment" }).click();
  await dialog()
    .getByRole("radio", { name: /^2\.0\.0/ })
    .check();
  await dialog().getByLabel(/^To/).selectOption({ label: "Press line 4" });
  await dialog()
    .getByText(/is for “another-board”/)
    .waitFor();
  await dialog()
    .getByRole("radio", { name: /^1\.1\.0/ })
    .check();
  await dialog()
    .getByText(/is for “another-board”/)
    .waitFor({ state: "detached" });
  await dialog().getByRole("button", { name: "Cancel" }).click();
});

test("a deployment is followed live from offered to verified", async () => {
  await section("Devices");
  await page.getByRole("link", { name: "Press line 4" }).click();
  await page.getByRole("button", { name: "Deploy", exact: true }).click();
  await dialog()
    .getByRole("radio", { name: /^1\.1\.0/ })
    .check();
  await dialog().getByRole("button", { name: "Deploy", exact: true }).click();
  await heading("Deployment #1").waitFor();
  const row = page.getByRole("list", { name: "Devices of this deployment" }).getByRole("listitem").first();
  const badge = (label: string) => row.locator(".update-now").getByText(label, { exact: true }).waitFor();
  await badge("Offered");

  const command = await device.command();
  assert.equal(command.kind, "deploy");
  const number = command.body?.deployment ?? 0;
  await device.report(number, "downloading");
  await badge("Downloading");
  await device.report(number, "installing");
  await badge("Installing");
  await device.progress(number, "installing", 46, 300_000, "Copying image to rootfs.1");
  await row.getByText("Copying image to rootfs.1").waitFor();
  await row.getByText(/300 kB fetched of a bundle of 2\.10 MB/).waitFor();
  await inspect(page, "deployment-desktop-light");
  for (const [state, label] of [
    ["installed", "Installed"],
    ["rebooting", "Rebooting"],
    ["trial", "On trial"],
  ] as const) {
    await device.report(number, state, { running_version: "1.1.0", running_slot: "B" });
    await badge(label);
  }
  await device.report(number, "verified", { running_version: "1.1.0", running_slot: "B", bytes_fetched: 400_000 });
  await badge("Verified");
  await page.getByText("1.1.0 to Press line 4: verified").waitFor();
  await row.getByText(/^Every step/).click();
  await row.getByText("running 1.1.0 in slot B").first().waitFor();
});

test("a deployment is cancelled, and one to a group that rolls back says why", async () => {
  await section("Deployments");
  await page.getByRole("button", { name: "New deployment" }).click();
  await dialog()
    .getByRole("radio", { name: /^1\.1\.0/ })
    .check();
  await dialog().getByLabel(/^To/).selectOption({ label: "plant-celle (1 device)" });
  await dialog().getByRole("button", { name: "Deploy", exact: true }).click();
  await heading("Deployment #2").waitFor();
  // The server's answer to the click is held back until the device has reported: it is old by then, and must not win.
  let release = () => {};
  const reported = new Promise<void>((resolve) => {
    release = resolve;
  });
  await page.route("**/deployments/2/cancel", async (route) => {
    const response = await route.fetch();
    await reported;
    await route.fulfill({ response });
  });
  await page.getByRole("button", { name: "Cancel" }).click();
  await dialog().getByRole("button", { name: "Cancel deployment" }).click();
  let command = await device.command();
  if (command.kind === "deploy") command = await device.command();
  assert.equal(command.kind, "cancel");
  await device.report(command.body?.deployment ?? 0, "cancelled", {
    reason: { code: "cancelled", detail: "cancelled by an operator" },
  });
  const outcome = page.getByText("1.1.0 to group plant-celle: cancelled");
  await outcome.waitFor();
  release();
  await page.getByText("Deployment #2 is cancelled.").waitFor();
  assert.ok(await outcome.isVisible());

  await section("Deployments");
  await page.getByRole("button", { name: "New deployment" }).click();
  await dialog()
    .getByRole("radio", { name: /^1\.1\.0/ })
    .check();
  await dialog().getByLabel(/^To/).selectOption({ label: "plant-celle (1 device)" });
  await dialog().getByRole("button", { name: "Deploy", exact: true }).click();
  await heading("Deployment #3").waitFor();
  const third = (await device.command()).body?.deployment ?? 0;
  await device.report(third, "installing");
  await device.report(third, "trial", { running_version: "1.1.0", running_slot: "B" });
  await device.report(third, "rolled_back", {
    running_version: "1.0.0",
    running_slot: "A",
    reason: { code: "failed_unit", detail: "kiln-control.service failed" },
  });
  await page.getByText("kiln-control.service failed").first().waitFor();
  await page
    .getByText(/Mend the service that failed/)
    .first()
    .waitFor();
});

test("every page is accessible and fits, on desktop and phone, light and dark", async () => {
  const places: [name: string, hash: string, title: string | RegExp][] = [
    ["devices", "#/devices", "Devices"],
    ["device", `#/devices/${device.id}`, "Press line 4"],
    ["bundles", "#/bundles", "Bundles"],
    ["deployments", "#/deployments", "Deployments"],
    ["deployment", "#/deployments/3", "Deployment #3"],
    ["audit", "#/audit", "Audit"],
    ["people", "#/people", "People"],
    ["person", "#/people/admin", "admin"],
    ["no-device", "#/devices/nobody", "There is no such device"],
    ["no-deployment", "#/deployments/999", "There is no such deployment"],
    ["no-page", "#/nowhere", "There is no such page"],
    ["account", "#/account", "Account"],
  ];
  for (const size of ["desktop", "phone"] as const) {
    for (const colorScheme of ["light", "dark"] as const) {
      const look = await open(browser, server.url, { size, colorScheme });
      look.expect(/404.*\/deployments\/999$/);
      await inspect(look.page, `login-${size}-${colorScheme}`);
      await logIn(look.page, server.password);
      for (const [name, hash, title] of places) {
        await look.page.goto(`/${hash}`);
        await heading(title, look.page).waitFor();
        if (name === "device") await look.page.getByRole("img", { name: /^CPU over time/ }).waitFor();
        await inspect(look.page, `${name}-${size}-${colorScheme}`);
      }
      assert.deepEqual(look.faults, []);
      await look.context.close();
    }
  }
});

test("dark follows the system until somebody chooses, and the choice is kept", async () => {
  const look = await open(browser, server.url, { colorScheme: "dark" });
  const isDark = () => look.page.evaluate(() => getComputedStyle(document.documentElement).colorScheme === "dark");
  await logIn(look.page, server.password);
  assert.equal(await isDark(), true);
  await look.page.getByRole("button", { name: "Use light colours" }).click();
  assert.equal(await isDark(), false);
  await look.page.reload();
  await heading("Devices", look.page).waitFor();
  assert.equal(await isDark(), false);
  await look.page.getByRole("button", { name: "Use dark colours" }).click();
  await look.page.emulateMedia({ colorScheme: "light" });
  assert.equal(await isDark(), false);
  await look.context.close();
});

test("the keyboard is enough: skip link, dialog that keeps and gives back the focus", async () => {
  await section("Devices");
  await heading("Devices").waitFor();
  await page.reload();
  await heading("Devices").waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Skip to content");
  await page.getByRole("button", { name: "Pair a device" }).focus();
  await page.keyboard.press("Enter");
  await dialog().waitFor();
  for (let press = 0; press < 12; press += 1) {
    await page.keyboard.press("Tab");
    // The body stands for the browser's own controls, which Tab reaches too.
    const where = await page.evaluate(() => document.activeElement?.closest("dialog, .frame, body")?.tagName);
    assert.ok(where === "DIALOG" || where === "BODY", where);
  }
  await page.keyboard.press("Escape");
  await dialog().waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Pair a device");
});

test("a lost server is said, and the page catches up by itself when it is back", async () => {
  desk.expect(/ERR_|Failed to load resource/);
  await device.disconnect();
  await page.getByText("1 device, 0 online").waitFor();
  await server.stop();
  await page.getByText("The connection to the server is lost.").waitFor();
  await server.start();
  await page.getByText("The connection to the server is lost.").waitFor({ state: "detached" });
  await device.connect(server.mqtt);
  await page.getByText("1 device, 1 online").waitFor();
});

test("a server whose disk is full is said, and that it is over", async () => {
  let status = "disk-full";
  await page.route("**/api/v1/health", (route) =>
    route.fulfill({ status: status === "ok" ? 200 : 503, json: { status, version: "1" } }),
  );
  desk.expect(/503/);
  await page.reload();
  await page.getByText("The server's disk is full").waitFor();
  status = "ok";
  await page.reload();
  await heading("Devices").waitFor();
  await page.getByText("The server's disk is full").waitFor({ state: "detached" });
  await page.unroute("**/api/v1/health");
});

test("a session that ended leads to the login and back to the same place", async () => {
  await page.goto("/#/deployments/1");
  await heading("Deployment #1").waitFor();
  await desk.context.clearCookies();
  // Not by a click: what the page still fetches may lead to the login first.
  await page.goto("/#/audit");
  await page.getByText("Your session has ended.").waitFor();
  await logIn(page, server.password);
  await heading("Audit").waitFor();
  await page.getByText("deployment.").first().waitFor();
});

test("a list that is longer than a page is read to its end", async () => {
  await page.evaluate(async () => {
    for (let number = 0; number < 60; number += 1) {
      const body = JSON.stringify({ device_name: `unit ${number}` });
      const headers = { "Content-Type": "application/json" };
      await fetch("/api/v1/pairing-tokens", { method: "POST", headers, body });
    }
  });
  await section("Devices");
  await section("Audit");
  const rows = page.locator(".audit-rows > li");
  await rows.nth(49).waitFor();
  assert.equal(await rows.count(), 50);
  while (await page.getByRole("button", { name: "Show older" }).isVisible()) {
    const before = await rows.count();
    await page.getByRole("button", { name: "Show older" }).click();
    await rows.nth(before).waitFor();
  }
  await rows.last().getByText("user.create").waitFor();
});

test("a bundle that a deployment still needs is deleted after a warning", async () => {
  await section("Bundles");
  const card = page.getByRole("listitem").filter({ has: page.getByRole("heading", { name: "1.1.0", exact: true }) });
  await card.getByRole("button", { name: "Deploy" }).click();
  await dialog().getByLabel(/^To/).selectOption({ label: "Press line 4" });
  await dialog().getByRole("button", { name: "Deploy", exact: true }).click();
  await heading("Deployment #4").waitFor();
  await section("Bundles");
  await card.getByText("1 deployment running").waitFor();
  await card.getByRole("button", { name: "Delete" }).click();
  await dialog()
    .getByText(/1 deployment with it still runs/)
    .waitFor();
  await dialog().getByRole("button", { name: "Delete bundle" }).click();
  await card.waitFor({ state: "detached" });
});

test("a device is revoked, a bundle is deleted, a device is deleted", async () => {
  await section("Bundles");
  const card = page.getByRole("listitem").filter({ hasText: "another-board" });
  await card.getByRole("button", { name: "Delete" }).click();
  await dialog().getByRole("button", { name: "Delete bundle" }).click();
  await page.getByRole("heading", { name: "2.0.0", exact: true }).waitFor({ state: "detached" });

  await section("Devices");
  await page.getByRole("link", { name: "Press line 4" }).click();
  await page.getByRole("button", { name: "Revoke" }).click();
  await dialog().getByRole("button", { name: "Revoke certificate" }).click();
  await page.getByText("cannot connect until it is paired again").waitFor();
  await page.getByRole("button", { name: "Delete" }).click();
  await dialog().getByRole("button", { name: "Delete device" }).click();
  await page.getByRole("heading", { name: "Pair your first device" }).waitFor();
});

test("the password is changed, and only the new one lets in", async () => {
  await page.getByRole("link", { name: "Account of admin" }).click();
  const old = server.password;
  await page.getByLabel("Present password").fill("not it at all");
  await page.getByLabel("New password", { exact: true }).fill(NEW_PASSWORD);
  await page.getByLabel("New password again").fill("another one");
  await page.getByRole("button", { name: "Change password" }).click();
  await page.getByRole("alert").filter({ hasText: "differ" }).waitFor();
  await page.getByLabel("New password again").fill(NEW_PASSWORD);
  await page.getByRole("button", { name: "Change password" }).click();
  await page
    .getByRole("alert")
    .filter({ hasText: /password/i })
    .waitFor();
  await page.getByLabel("Present password").fill(old);
  await page.getByRole("button", { name: "Change password" }).click();
  await page.getByText("Password changed.").waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await logIn(page, NEW_PASSWORD);
});

test("no script failed, nothing broke the content security policy, nothing was fetched from elsewhere", () => {
  assert.deepEqual(desk.faults, []);
});
