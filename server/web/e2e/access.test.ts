// Users, roles, projects and access tokens in a real Chromium against the real server. The tests build on each other, in order.

import assert from "node:assert/strict";
import { request } from "node:https";
import { after, before } from "node:test";
import type { Browser, Page } from "playwright-core";
import { inspect, launch, logIn, open, type Watched } from "./browser";
import { bundle } from "./bundle";
import { chain } from "./chain";
import { Device } from "./device";
import { Server } from "./server";

const COMPATIBLE = "homeport-test-board";

const server = new Server();
let browser: Browser;
/** The first user, who may do everything. */
let desk: Watched;
let page: Page;
/** Works for acme. */
let mara: Watched;
/** Works for borealis. */
let jonas: Watched;
const passwords = new Map<string, string>();
const opened: Watched[] = [];

before(async () => {
  await server.start();
  browser = await launch();
  desk = await look();
  page = desk.page;
});

after(async () => {
  await browser?.close();
  await server.remove();
});

const test = chain();

/** A window of its own, as another person has it. */
async function look(): Promise<Watched> {
  const watched = await open(browser, server.url);
  opened.push(watched);
  return watched;
}

const heading = (name: string | RegExp, at = page) => at.getByRole("heading", { name, level: 1 });
const sections = (at = page) => at.getByRole("navigation", { name: "Sections" });
const section = (name: string, at = page) => sections(at).getByRole("link", { name }).click();
const dialog = (at = page) => at.getByRole("dialog");
const row = (name: string, at = page) => at.getByRole("list", { name: "Devices" }).getByRole("link", { name });
const alert = (text: RegExp, at = page) => at.getByRole("alert").filter({ hasText: text });

async function pair(name: string, project: string): Promise<void> {
  await section("Devices");
  await page
    .getByRole("button", { name: /^(Pair a device|Make a pairing token)$/ })
    .first()
    .click();
  await dialog().getByLabel(/^Name/).fill(name);
  await dialog().getByLabel("Project").selectOption(project);
  await dialog().getByRole("button", { name: "Make the token" }).click();
  const command = (await page.getByTestId("pair-command").textContent()) ?? "";
  await Device.pair(command.replace("homeport-agent pair ", ""), name.replace(/\W/g, "-"));
  await dialog()
    .getByRole("heading", { name: `${name} is paired` })
    .waitFor();
  await dialog().getByRole("button", { name: "Close" }).click();
}

/** Makes a person, and keeps the password that is shown. */
async function makePerson(name: string): Promise<void> {
  await section("People");
  await page.getByRole("button", { name: "New user" }).click();
  await dialog().getByLabel("Name").fill(name);
  await dialog().getByRole("button", { name: "Make the user" }).click();
  await dialog()
    .getByRole("heading", { name: `${name} can log in` })
    .waitFor();
  passwords.set(name, (await page.getByTestId("secret").textContent()) ?? "");
  await dialog().getByRole("button", { name: "Copy the password" }).click();
  await dialog().getByRole("button", { name: "Copied the password" }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), passwords.get(name));
  await inspect(page, "new-password-desktop-light");
  await dialog().locator(".form-foot").getByRole("button", { name: "Close" }).click();
  await heading(name).waitFor();
}

async function grant(user: string, role: string, place: string): Promise<void> {
  await page.goto(`/#/people/${user}`);
  await heading(user).waitFor();
  await page.getByRole("combobox", { name: "Role" }).selectOption(role);
  await page.getByRole("combobox", { name: /^On/ }).selectOption(place);
  await page.getByRole("button", { name: "Grant" }).click();
  await page
    .getByRole("list", { name: "Roles" })
    .getByRole("listitem")
    .filter({ hasText: `${role} on` })
    .filter({ hasText: place.split(":")[1] ?? "everything" })
    .waitFor();
}

async function takeAway(user: string, role: string): Promise<void> {
  await page.goto(`/#/people/${user}`);
  await page.getByRole("button", { name: `Take away ${role}` }).click();
  await dialog().getByRole("button", { name: "Take the role away" }).click();
  await page.getByRole("button", { name: `Take away ${role}` }).waitFor({ state: "detached" });
}

async function arrive(user: string): Promise<Watched> {
  const watched = await look();
  await logIn(watched.page, passwords.get(user) ?? "", user);
  return watched;
}

/** Calls the API as a program does, and returns the status and the answer. */
function call(path: string, secret: string): Promise<[status: number, body: string]> {
  return new Promise((resolve, reject) => {
    const headers = { Authorization: `Bearer ${secret}` };
    const sent = request(`${server.url}/api/v1${path}`, { headers, rejectUnauthorized: false }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        body += part;
      });
      response.on("end", () => resolve([response.statusCode ?? 0, body]));
    });
    sent.on("error", reject);
    sent.end();
  });
}

test("a fleet without projects shows none", async () => {
  await logIn(page, server.password);
  await heading("Devices").waitFor();
  await page.getByRole("button", { name: "Make a pairing token" }).click();
  await dialog().getByRole("button", { name: "Make the token" }).waitFor();
  assert.equal(await page.getByText("Project", { exact: false }).count(), 0);
  await page.keyboard.press("Escape");
  await section("Bundles");
  await page.getByRole("button", { name: "Choose a file" }).waitFor();
  assert.equal(await page.getByText("Project", { exact: false }).count(), 0);
});

test("projects are made and deleted; one without a project above it is refused with a reason", async () => {
  await section("People");
  await page.getByRole("link", { name: "Projects" }).click();
  await page.getByRole("heading", { name: "No project yet" }).waitFor();
  const list = page.getByRole("list", { name: "Projects" });
  for (const path of ["acme", "borealis", "acme/plant-1"]) {
    await page.getByLabel("New project").fill(path);
    await page.getByRole("button", { name: "Add" }).click();
    await list.getByText(path, { exact: true }).waitFor();
  }
  desk.expect(/\/api\/v1\/projects$/);
  await page.getByLabel("New project").fill("nowhere/plant");
  await page.getByRole("button", { name: "Add" }).click();
  await alert(/nowhere/).waitFor();
  await page.getByRole("button", { name: "Delete project acme/plant-1" }).click();
  await dialog().getByRole("button", { name: "Delete project" }).click();
  await list.getByText("acme/plant-1").waitFor({ state: "detached" });
});

test("devices are paired into projects, shown with them, and filtered by them", async () => {
  await pair("Press line 3", "acme");
  await pair("Kiln gateway", "borealis");
  await row("Press line 3").waitFor();
  await page.getByLabel(/^Project/).selectOption("borealis");
  await row("Press line 3").waitFor({ state: "detached" });
  await row("Kiln gateway").waitFor();
  await page.getByRole("list", { name: "Devices" }).getByText("Project borealis").waitFor();
  await page.getByLabel(/^Project/).selectOption("");
});

test("a person is made, the password is shown once, and it lets in", async () => {
  await makePerson("mara");
  await page.reload();
  await heading("mara").waitFor();
  assert.equal(await page.getByText(passwords.get("mara") ?? "", { exact: false }).count(), 0);
  mara = await arrive("mara");
  await mara.page.getByRole("heading", { name: "You have no role yet" }).waitFor();
  await inspect(mara.page, "no-role-desktop-light");
});

test("two people in two projects each see only their own devices, and only what they may do", async () => {
  await grant("mara", "operator", "project:acme");
  // Her page was open all the time.
  await row("Press line 3", mara.page).waitFor();
  await makePerson("jonas");
  await grant("jonas", "viewer", "project:borealis");
  jonas = await arrive("jonas");
  await row("Kiln gateway", jonas.page).waitFor();
  assert.equal(await row("Kiln gateway", mara.page).count(), 0);
  assert.equal(await row("Press line 3", jonas.page).count(), 0);
  for (const { page: at } of [mara, jonas]) {
    assert.deepEqual(await sections(at).getByRole("link").allInnerTexts(), ["Devices", "Deployments", "Bundles"]);
    assert.equal(await at.getByRole("button", { name: "Pair a device" }).count(), 0);
    assert.equal(await at.getByRole("button", { name: "Groups" }).count(), 0);
  }
  await row("Press line 3", mara.page).click();
  await mara.page.getByRole("button", { name: "Rename" }).waitFor();
  assert.equal(await mara.page.getByRole("button", { name: "Revoke" }).count(), 0);
  await row("Kiln gateway", jonas.page).click();
  await heading("Kiln gateway", jonas.page).waitFor();
  assert.equal(
    await jonas.page.getByRole("button", { name: /^(Rename|Deploy|Move|Delete|Add to a group)$/ }).count(),
    0,
  );
  // Somebody who types the address gets no more.
  await jonas.page.goto("/#/people");
  await jonas.page.getByRole("heading", { name: "Your roles do not include this" }).waitFor();
});

test("a call that is refused says why", async () => {
  await grant("mara", "viewer", "project:borealis");
  await section("Devices", mara.page);
  await row("Kiln gateway", mara.page).click();
  mara.expect(/403.*\/api\/v1\/devices\//);
  await mara.page.getByRole("button", { name: "Rename" }).click();
  await dialog(mara.page).getByLabel("Name").fill("Mine");
  await dialog(mara.page).getByRole("button", { name: "Rename" }).click();
  await alert(/device\.change.*operator|operator.*device\.change/, mara.page).waitFor();
  await dialog(mara.page).getByRole("button", { name: "Cancel" }).click();
  await heading("Kiln gateway", mara.page).waitFor();
});

test("a role that is taken away hides what it showed in a page that is open", async () => {
  await takeAway("mara", "viewer on project borealis");
  await mara.page.getByRole("heading", { name: "There is no such device" }).waitFor();
  await section("Devices", mara.page);
  await row("Press line 3", mara.page).waitFor();
  assert.equal(await row("Kiln gateway", mara.page).count(), 0);
  await takeAway("mara", "operator on project acme");
  await mara.page.getByRole("heading", { name: "You have no role yet" }).waitFor();
  assert.equal(await mara.page.getByText("Press line 3").count(), 0);
  await grant("mara", "operator", "project:acme");
  await row("Press line 3", mara.page).waitFor();
});

test("rights that change while the page connects again are not missed", async () => {
  await mara.page.goto("/#/account");
  const borealis = mara.page.getByText("viewer on project borealis");
  let release = () => {};
  const changed = new Promise<void>((resolve) => {
    release = resolve;
  });
  let asked = () => {};
  const old = new Promise<void>((resolve) => {
    asked = resolve;
  });
  await mara.page.route(
    "**/api/v1/session",
    async (route) => {
      const response = await route.fetch();
      asked();
      await changed;
      await route.fulfill({ response });
    },
    { times: 1 },
  );
  await grant("mara", "viewer", "project:borealis");
  await old;
  await takeAway("mara", "viewer on project borealis");
  await mara.page.getByText("Connecting").waitFor();
  release();
  await mara.page.getByText("Live", { exact: true }).waitFor();
  await borealis.waitFor({ state: "detached" });
  await mara.page.getByText("operator on project acme").waitFor();
  await section("Devices", mara.page);
});

test("a device that is moved leaves the one page and comes to the other", async () => {
  await section("Devices");
  await row("Kiln gateway").click();
  await page.getByRole("button", { name: "Move" }).click();
  await dialog().getByLabel("Project").selectOption("acme");
  await dialog().getByRole("button", { name: "Move" }).click();
  await heading("Kiln gateway").waitFor();
  await page.getByText("Project acme").waitFor();
  await row("Kiln gateway", mara.page).waitFor();
  await jonas.page.goto("/#/devices");
  await jonas.page.getByRole("heading", { name: "No device yet" }).waitFor();
});

test("a group of a project is made by its short name, and has the path before it", async () => {
  await page.getByRole("button", { name: "Add to a group" }).click();
  await page.getByLabel("Group to join").fill("pilot");
  await page.getByRole("button", { name: "Join" }).click();
  await page.getByRole("button", { name: "Leave group acme/pilot" }).waitFor();
  await grant("jonas", "viewer", "group:acme/pilot");
  await row("Kiln gateway", jonas.page).waitFor();
  assert.equal(await row("Press line 3", jonas.page).count(), 0);
});

test("the same bundle in two projects is two bundles, and one is deleted without the other", async () => {
  await section("Bundles");
  const file = { name: "b.raucb", mimeType: "application/octet-stream", buffer: bundle("1.1.0", COMPATIBLE, 16) };
  const cards = page.getByRole("list", { name: "Bundles" }).getByRole("listitem");
  for (const project of ["acme", "borealis"]) {
    await page.getByLabel("Project").selectOption(project);
    await page.getByLabel("Bundle file").setInputFiles(file);
    await cards.filter({ hasText: `Project ${project}` }).waitFor();
    // Another file for the same project does not need another choice, and does not go to all.
    assert.equal(await page.getByLabel("Project").inputValue(), project);
  }
  await section("Bundles", mara.page);
  await mara.page.getByRole("heading", { name: "1.1.0", exact: true }).waitFor();
  assert.equal(await mara.page.getByRole("heading", { name: "1.1.0", exact: true }).count(), 1);
  assert.equal(await mara.page.getByRole("button", { name: "Choose a file" }).count(), 0);
  await cards.filter({ hasText: "Project borealis" }).getByRole("button", { name: "Delete" }).click();
  await dialog().getByRole("button", { name: "Delete bundle" }).click();
  await cards.filter({ hasText: "Project borealis" }).waitFor({ state: "detached" });
  await cards.filter({ hasText: "Project acme" }).waitFor();
});

test("an access token is shown once, works within its limits, and not after it was revoked", async () => {
  await mara.page.getByRole("link", { name: "Account of mara" }).click();
  await mara.page.getByRole("button", { name: "New token" }).click();
  await dialog(mara.page).getByLabel("Name").fill("laptop");
  await dialog(mara.page).getByRole("button", { name: "Make the token" }).click();
  const secret = (await mara.page.getByTestId("secret").textContent()) ?? "";
  await inspect(mara.page, "new-token-desktop-light");
  await dialog(mara.page).locator(".form-foot").getByRole("button", { name: "Close" }).click();
  const tokens = mara.page.getByRole("region", { name: "Access tokens" });
  await tokens.getByText("at most viewer on everything").waitFor();
  await tokens.getByText("never used").waitFor();

  const [status, body] = await call("/devices", secret);
  assert.equal(status, 200);
  const names = (JSON.parse(body) as { items: { name: string }[] }).items.map(({ name }) => name);
  assert.deepEqual(names.sort(), ["Kiln gateway", "Press line 3"]);
  assert.equal((await call("/users", secret))[0], 403);

  await mara.page.reload();
  await tokens.getByText("laptop").waitFor();
  assert.ok(!(await mara.page.content()).includes(secret));
  await tokens.getByRole("button", { name: "Revoke token laptop" }).click();
  await dialog(mara.page).getByRole("button", { name: "Revoke token" }).click();
  await tokens.getByText("No token yet.").waitFor();
  assert.equal((await call("/devices", secret))[0], 401);
});

test("a service has no password but tokens, and is shut out when it is disabled", async () => {
  await section("People");
  await page.getByRole("button", { name: "New user" }).click();
  await dialog().getByLabel("Name").fill("build-server");
  await dialog()
    .getByRole("radio", { name: /^Service/ })
    .check();
  await dialog().getByLabel("Managed by the administrators of").selectOption("acme");
  await dialog().getByRole("button", { name: "Make the user" }).click();
  await heading("build-server").waitFor();
  await page.getByText("administrators of acme").waitFor();
  assert.equal(await page.getByRole("button", { name: "New password" }).count(), 0);
  await grant("build-server", "maintainer", "project:acme");
  await page.getByRole("button", { name: "New token" }).click();
  await dialog().getByLabel("Name").fill("pipeline");
  await dialog().getByLabel("At most the role").selectOption("maintainer");
  await dialog().getByLabel("Only in the project").selectOption("acme");
  await dialog().getByRole("button", { name: "Make the token" }).click();
  const secret = (await page.getByTestId("secret").textContent()) ?? "";
  await dialog().locator(".form-foot").getByRole("button", { name: "Close" }).click();
  await page.getByText("at most maintainer on project acme").waitFor();
  assert.equal((await call("/bundles", secret))[0], 200);
  await page.getByRole("button", { name: "Disable" }).click();
  await dialog().getByRole("button", { name: "Disable user" }).click();
  await page.getByRole("button", { name: "Enable" }).waitFor();
  assert.equal((await call("/bundles", secret))[0], 401);
});

test("a person who is disabled is out at once; after that a new password lets in", async () => {
  await page.goto("/#/people/mara");
  await heading("mara").waitFor();
  mara.expect(/401/);
  await mara.page.getByRole("button", { name: "New token" }).click();
  await dialog(mara.page).getByLabel("Name").fill("phone");
  await dialog(mara.page).getByRole("button", { name: "Make the token" }).click();
  await dialog(mara.page).locator(".form-foot").getByRole("button", { name: "Close" }).click();
  await mara.page.getByRole("button", { name: "Revoke token phone" }).click();
  await dialog(mara.page).waitFor();
  await page.getByRole("button", { name: "Disable" }).click();
  await dialog().getByRole("button", { name: "Disable user" }).click();
  await mara.page.getByRole("heading", { name: "Homeport", level: 1 }).waitFor();
  assert.equal(await mara.page.getByText("Press line 3").count(), 0);
  await mara.page.getByLabel("User").fill("mara");
  await mara.page.getByLabel("Password").fill(passwords.get("mara") ?? "");
  await mara.page.getByRole("button", { name: "Log in" }).click();
  await alert(/./, mara.page).waitFor();

  await page.getByRole("button", { name: "Enable" }).click();
  await page.getByRole("button", { name: "Disable" }).waitFor();
  await page.getByRole("button", { name: "New password" }).click();
  await dialog().getByRole("button", { name: "Make a new password" }).click();
  const secret = (await page.getByTestId("secret").textContent()) ?? "";
  await dialog().locator(".form-foot").getByRole("button", { name: "Close" }).click();
  await logIn(mara.page, secret, "mara");
  // What was asked before does not come up again, and the token has ended with the old password.
  await mara.page.getByRole("button", { name: "New token" }).waitFor();
  await mara.page.getByText("No token yet").waitFor();
  assert.equal(await dialog(mara.page).count(), 0);
});

test("another user who logs in on the same page sees nothing of the one before", async () => {
  await section("Devices", mara.page);
  await row("Press line 3", mara.page).waitFor();
  // The answer to mara's question comes only after she is gone.
  let release = () => {};
  const gone = new Promise<void>((resolve) => {
    release = resolve;
  });
  let answered = () => {};
  const late = new Promise<void>((resolve) => {
    answered = resolve;
  });
  await mara.page.route(
    "**/api/v1/devices?*",
    async (route) => {
      const response = await route.fetch();
      await gone;
      await route.fulfill({ response });
      answered();
    },
    { times: 1 },
  );
  await mara.page.reload();
  await mara.page.getByText("Loading your fleet").waitFor();
  await mara.page.getByRole("button", { name: "Log out" }).click();
  await logIn(mara.page, passwords.get("jonas") ?? "", "jonas");
  await row("Kiln gateway", mara.page).waitFor();
  release();
  await late;
  await mara.page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))));
  assert.equal(await row("Press line 3", mara.page).count(), 0);
  await row("Kiln gateway", mara.page).waitFor();
});

test("a user is deleted, but nobody shuts oneself out", async () => {
  await page.goto("/#/people/admin");
  await page.getByText("administrators of everything").waitFor();
  assert.equal(await page.getByRole("button", { name: /^(New password|Disable|Delete)$/ }).count(), 0);
  await page.goto("/#/people/build-server");
  await heading("build-server").waitFor();
  await page.getByRole("button", { name: "Delete" }).click();
  await dialog().getByRole("button", { name: "Delete user" }).click();
  await heading("People").waitFor();
  const list = page.getByRole("list", { name: "People" });
  await list.getByRole("link", { name: "mara" }).waitFor();
  assert.equal(await list.getByText("build-server").count(), 0);
});

test("every page is accessible and fits, on desktop and phone, light and dark", async () => {
  const places: [name: string, hash: string, title: string][] = [
    ["people", "#/people", "People"],
    ["person", "#/people/mara", "mara"],
    ["projects", "#/projects", "Projects"],
    ["devices-in-projects", "#/devices", "Devices"],
    ["bundles-in-projects", "#/bundles", "Bundles"],
    ["account-with-roles", "#/account", "Account"],
  ];
  for (const size of ["desktop", "phone"] as const) {
    for (const colorScheme of ["light", "dark"] as const) {
      const watched = await open(browser, server.url, { size, colorScheme });
      await logIn(watched.page, server.password);
      for (const [name, hash, title] of places) {
        await watched.page.goto(`/${hash}`);
        await heading(title, watched.page).waitFor();
        await watched.page.getByText(/^Loading/).waitFor({ state: "detached" });
        await inspect(watched.page, `${name}-${size}-${colorScheme}`);
      }
      await watched.page.goto("/#/people");
      await watched.page.getByRole("button", { name: "New user" }).click();
      await inspect(watched.page, `new-user-${size}-${colorScheme}`);
      assert.deepEqual(watched.faults, []);
      await watched.context.close();
    }
  }
});

test("no script failed, nothing broke the content security policy, nothing was fetched from elsewhere", () => {
  for (const { faults } of opened) assert.deepEqual(faults, []);
});
