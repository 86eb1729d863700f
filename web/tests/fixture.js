// A page of the console that is watched: nothing in it may run, break a rule of its policy, open a dialog or throw.

import { test as base, expect } from "@playwright/test";

export { expect };
export const KEY = process.env.WRENN_API_KEY;
export const PICTURES = new URL("screenshots/", import.meta.url).pathname;

export const test = base.extend({
  page: async ({ page }, use) => {
    const seen = [];
    page.on("dialog", (dialog) => {
      seen.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on("pageerror", (error) => seen.push(`thrown: ${error}`));
    page.on("popup", (popup) => seen.push(`popup: ${popup.url()}`));
    // What a test does on purpose to see this watch at work, it takes out of `seen` again.
    page.seen = seen;
    await page.exposeFunction("wrennTestSaw", (what) => seen.push(what));
    await page.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        window.wrennTestSaw(`violation: ${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    await use(page);
    if (!page.isClosed()) expect(await page.evaluate(() => window.hacked)).toBeUndefined();
    expect(seen).toEqual([]);
  },

  /** The REST API beside the page. It destroys what it made, and what `destroyLater` names. */
  api: async ({ playwright, baseURL }, use) => {
    const context = await playwright.request.newContext({ baseURL, extraHTTPHeaders: { "X-API-Key": KEY } });
    const mine = new Set();
    await use({
      async create(fields) {
        const answer = await context.post("/v1/sandboxes", { data: fields });
        expect(answer.status()).toBe(201);
        const { id } = await answer.json();
        mine.add(id);
        return id;
      },
      list: async () => (await context.get("/v1/sandboxes")).json(),
      get: async (id) => (await context.get(`/v1/sandboxes/${id}`)).json(),
      destroyLater: (id) => mine.add(id),
    });
    for (const id of mine) expect((await context.delete(`/v1/sandboxes/${id}`)).status()).toBe(204);
    await context.dispose();
  },
});

/** Opens the console with the installation's key. */
export async function enter(page) {
  await page.goto("/test");
  await page.getByLabel("Key", { exact: true }).fill(KEY);
  await page.getByRole("button", { name: "Open the console" }).click();
  await expect(page.getByRole("heading", { name: "Create a sandbox" })).toBeVisible();
  await expect(page.locator("#freshness")).toHaveText(/^Updated/);
}

/** A sandbox's row. */
export function row(page, id) {
  return page.locator("#sandbox-rows tr").filter({ has: page.getByRole("button", { name: id, exact: true }) });
}

/** The newest line of the activity log. */
export function newest(page) {
  return page.locator("#log li").first();
}

/** The page as it should look, in both schemes and both sizes. */
export async function picture(page, name) {
  await page.emulateMedia({ reducedMotion: "reduce" });
  const size = page.viewportSize();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(size);
    await page.screenshot({ path: `${PICTURES}${name}-${colorScheme}.png`, fullPage: true });
    await page.setViewportSize({ width: 360, height: 740 });
    await page.screenshot({ path: `${PICTURES}${name}-${colorScheme}-phone.png`, fullPage: true });
  }
  await page.setViewportSize(size);
}
