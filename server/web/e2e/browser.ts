// Debian's Chromium, and what every page of it must not do.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { AxeResults } from "axe-core";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** Generous: the machine may run other tests at the same time. */
const LIMIT_MS = 120_000;

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** Where to leave screenshots, when somebody wants to look. */
const screenshots = process.env["HOMEPORT_SCREENSHOTS"];

export const SIZES = { desktop: { width: 1366, height: 860 }, phone: { width: 390, height: 844 } };

export function launch(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
}

/** A page that remembers whatever went wrong in it. */
export interface Watched {
  page: Page;
  context: BrowserContext;
  /** Errors of scripts and of the content security policy, and failed requests that no test provoked. */
  faults: string[];
  /** Answers that a test provokes and that the browser writes to its console. */
  expect: (fault: RegExp) => void;
}

interface Look {
  size?: keyof typeof SIZES;
  colorScheme?: "light" | "dark";
}

export async function open(
  browser: Browser,
  url: string,
  { size = "desktop", colorScheme = "light" }: Look = {},
): Promise<Watched> {
  const context = await browser.newContext({
    baseURL: url,
    viewport: SIZES[size],
    colorScheme,
    locale: "en-GB",
    // The server's CA is its own.
    ignoreHTTPSErrors: true,
    permissions: ["clipboard-read", "clipboard-write"],
  });
  context.setDefaultTimeout(LIMIT_MS);
  const page = await context.newPage();
  const faults: string[] = [];
  // Whether somebody is logged in is asked of the server; "no" is an answer.
  const expected: RegExp[] = [/401.*\/api\/v1\/session$/];
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    faults.push(`${message.text()} at ${message.location().url}`);
  });
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== url) faults.push(`request to a stranger: ${request.url()}`);
  });
  await page.goto("/");
  return {
    page,
    context,
    get faults() {
      return faults.filter((fault) => !expected.some((pattern) => pattern.test(fault)));
    },
    expect: (fault) => expected.push(fault),
  };
}

export async function logIn(page: Page, password: string, user = "admin"): Promise<void> {
  await page.getByLabel("User").fill(user);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("link", { name: `Account of ${user}` }).waitFor();
}

/** Fails when axe finds a breach of WCAG 2 A or AA, or when the page is wider than its window. */
export async function inspect(page: Page, name: string): Promise<void> {
  // Half-way through an animation, colours are none of the design's. One whose element went is over too: its promise is
  // rejected.
  await page.evaluate(() =>
    Promise.allSettled(
      document
        .getAnimations()
        .filter((one) => one.effect?.getTiming().iterations === 1)
        .map((one) => one.finished),
    ),
  );
  const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  if (screenshots) {
    mkdirSync(screenshots, { recursive: true });
    await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
  }
  assert.ok((width[0] ?? 0) <= (width[1] ?? 0), `${name} is ${width[0]} px wide in a window of ${width[1]}`);
  await page.evaluate(axe);
  const found = (await page.evaluate(
    "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })",
  )) as AxeResults;
  const breaches = found.violations.map(
    ({ id, help, nodes }) =>
      `${id}: ${help}\n${nodes.map((node) => `  ${node.html}\n  ${node.failureSummary}`).join("\n")}`,
  );
  assert.deepEqual(breaches, [], name);
}
