// A real board is updated from the page: `tests/` boots the board and runs this with what it needs in the environment.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { launch, logIn, open } from "../e2e/browser";

/** A board that is emulated takes minutes for an update, with its reboot. */
const UPDATE_MS = 15 * 60_000;

function given(name: string): string {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}

const browser = await launch();
after(() => browser.close());

test("a bundle is uploaded and deployed from the page until it is verified", async () => {
  const { page, faults } = await open(browser, given("HOMEPORT_URL"));
  await logIn(page, given("HOMEPORT_PASSWORD"));
  const version = given("HOMEPORT_VERSION");

  await page.getByRole("navigation").getByRole("link", { name: "Bundles" }).click();
  await page.getByLabel("Bundle file").setInputFiles(given("HOMEPORT_BUNDLE"));
  await page.getByText(version, { exact: true }).first().waitFor();

  await page.goto(`/#/devices/${given("HOMEPORT_DEVICE")}`);
  await page.getByRole("button", { name: "Deploy", exact: true }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("radio", { name: version }).check();
  await dialog.getByRole("button", { name: "Deploy", exact: true }).click();
  const row = page.getByRole("list", { name: "Devices of this deployment" }).getByRole("listitem").first();
  await row.locator(".update-now").getByText("Verified", { exact: true }).waitFor({ timeout: UPDATE_MS });
  assert.deepEqual(faults, []);
});
