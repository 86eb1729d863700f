// The page itself: its policy, the key, the refresh that goes on by itself, sizes and colours.

import { KEY, enter, expect, newest, picture, row, test } from "./fixture.js";

const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const refreshed = (page) => page.waitForResponse((answer) => answer.url().includes("/v1/sandboxes?"));

// Lets time pass until something has happened. The page asks again only when it has had its last answer, so that no number of
// seconds is the right one.
async function passUntil(page, happening) {
  let over = false;
  const done = () => (over = true);
  happening.then(done, done);
  while (!over) await page.clock.runFor(1000);
  await happening;
}

test("it comes with a policy, which holds", async ({ page }) => {
  const answer = await page.goto("/test");
  const policy = answer.headers()["content-security-policy"];
  for (const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'"]) {
    expect(policy).toContain(rule);
  }
  await expect(page).toHaveTitle("Wrenn Sandbox — Test Console");
  expect(page.seen).toEqual([]);
  // What the watch of every test would see.
  await page.evaluate(() => {
    const script = document.createElement("script");
    try {
      script.textContent = "window.hacked = 1";
    } catch {
      // A text may not become a script here at all.
    }
    document.body.append(script);
    const style = document.createElement("style");
    style.textContent = "body { display: none }";
    document.body.append(style);
  });
  await expect.poll(() => page.seen.length).toBeGreaterThanOrEqual(2);
  expect(page.seen.splice(0).every((what) => what.startsWith("violation: "))).toBe(true);
});

test("a wrong key is said to be wrong, and not kept", async ({ page }) => {
  await page.goto("/test");
  const key = page.getByLabel("Key", { exact: true });
  for (const wrong of [`${KEY}x`, "wrn_", "ключ", "<b>key</b>"]) {
    await key.fill(wrong);
    await key.press("Enter");
    await expect(page.locator("#key-problem")).toContainText(/not accepted|no API key/);
    await expect(page.getByRole("heading", { name: "Create a sandbox" })).toBeHidden();
    expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
  }
  await picture(page, "key");
  await key.fill(` ${KEY} `);
  await key.press("Enter");
  await expect(page.getByRole("heading", { name: "Create a sandbox" })).toBeVisible();
});

test("the key lives as long as the tab, or until it is forgotten", async ({ page, context }) => {
  await enter(page);
  await page.reload();
  await expect(page.getByRole("heading", { name: "Create a sandbox" })).toBeVisible();
  const other = await context.newPage();
  await other.goto("/test");
  await expect(other.getByLabel("Key", { exact: true })).toBeVisible();
  await other.close();

  await page.getByRole("button", { name: "Forget key" }).click();
  await expect(page.getByLabel("Key", { exact: true })).toBeVisible();
  expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
  await page.reload();
  await expect(page.getByLabel("Key", { exact: true })).toBeVisible();
});

test("a key that is withdrawn while the page is open is asked for again", async ({ page }) => {
  await enter(page);
  await page.evaluate(() => sessionStorage.setItem("wrenn.api-key", "wrn_withdrawn"));
  await page.getByRole("button", { name: "Refresh" }).first().click();
  await expect(page.locator("#sandbox-rows tr")).toHaveCount(0);
  await page.evaluate(() => document.getElementById("refresh").click());
  await expect(page.locator("#key-problem")).toContainText("no longer accepted");
});

test("the list follows what happens, and disturbs nobody", async ({ page, api }) => {
  await page.clock.install();
  await page.setViewportSize({ width: 1280, height: 300 });
  const first = await api.create({ memory_mb: 256 });
  await enter(page);
  // From here on time passes only when the test says so.
  await page.clock.pauseAt(Date.now() + 60_000);

  const template = page.getByLabel("Template", { exact: true });
  await template.fill("half a na");
  await template.evaluate((element) => element.setSelectionRange(2, 4));
  await page.evaluate(() => window.scrollTo(0, 120));
  const second = await api.create({ memory_mb: 256 });
  await expect(row(page, second).locator(".badge")).toHaveText("running");
  await expect(template).toBeFocused();
  await expect(template).toHaveValue("half a na");
  expect(await template.evaluate((element) => [element.selectionStart, element.selectionEnd])).toEqual([2, 4]);
  expect(await page.evaluate(() => window.scrollY)).toBe(120);

  // A row that somebody is in stays the same row.
  const destroy = row(page, first).getByRole("button", { name: "Destroy" });
  await destroy.focus();
  const third = await api.create({ memory_mb: 256 });
  await expect(row(page, third).locator(".badge")).toHaveText("running");
  await expect(destroy).toBeFocused();

  await page.getByLabel("Follow what happens").uncheck();
  let asked = 0;
  page.on("request", (request) => (asked += request.url().includes("/v1/")));
  const fourth = await api.create({ memory_mb: 256 });
  await page.clock.runFor(20_000);
  await wait(200);
  expect(asked).toBe(0);
  await page.getByLabel("Follow what happens").check();
  await expect(row(page, fourth).locator(".badge")).toHaveText("running");
});

test("a server that is away is told of once, and its return too", async ({ page }) => {
  await page.clock.install();
  await enter(page);
  await page.clock.pauseAt(Date.now() + 60_000);
  await page.route(/\/v1\/(sandboxes\?|events)/, (route) => route.abort());
  await page.getByLabel("Follow what happens").uncheck();
  await page.getByLabel("Follow what happens").check();
  for (let round = 0; round < 3; round++) {
    await passUntil(page, page.waitForEvent("requestfailed"));
  }
  await expect(page.locator("#list-problem")).toContainText("does not answer");
  await expect(page.locator("#log li")).toHaveCount(1);
  await page.unroute(/\/v1\/(sandboxes\?|events)/);
  await passUntil(page, refreshed(page));
  await expect(newest(page)).toContainText("is back");
  await expect(page.locator("#list-problem")).toBeEmpty();
});

test("a template's name fills the form, whose rules hold", async ({ page }) => {
  await enter(page);
  await page.getByLabel("Template", { exact: true }).fill("");
  await page.locator("#template-rows").getByRole("button", { name: "minimal", exact: true }).click();
  await expect(page.getByLabel("Template", { exact: true })).toHaveValue("minimal");
  await page.locator("#refresh-templates").click();
  await expect(newest(page)).toContainText("Listed the templates");

  let sent = 0;
  page.on("request", (request) => (sent += request.method() === "POST"));
  for (const [label, bad, good] of [["vCPUs", ["0", "9"], "1"], ["Memory, MiB", ["127", "8193"], "256"], ["Timeout, s", ["29"], "300"]]) {
    for (const value of bad) {
      await page.getByLabel(label).fill(value);
      await page.getByRole("button", { name: "Create" }).click();
      expect(await page.getByLabel(label).evaluate((field) => field.validity.valid)).toBe(false);
    }
    await page.getByLabel(label).fill(good);
  }
  expect(sent).toBe(0);

  await page.getByLabel("Template", { exact: true }).fill("absent");
  await page.getByRole("button", { name: "Create" }).click();
  // What happened, and what to do about it.
  await expect(page.locator("#create-form .problem")).toHaveText(/^.+\. .+\.$/);
  await expect(newest(page)).toContainText("not_found · 404 · req-");
});

test("a template is deleted by who means it", async ({ page }) => {
  let templates = ["minimal", "a/b ?#%", "kept"].map((name) => ({ name, type: "base", size_bytes: 2 ** 28 }));
  const deleted = [];
  await page.route("**/v1/snapshots", (route) => route.fulfill({ json: templates }));
  await page.route("**/v1/snapshots/*", (route) => {
    const name = decodeURIComponent(new URL(route.request().url()).pathname.split("/").pop());
    deleted.push(`${route.request().method()} ${name}`);
    if (name === "kept") {
      const error = { code: "not_found", message: "there is no template", remedy: "list the templates", request_id: "req-1" };
      return route.fulfill({ status: 404, json: { error } });
    }
    templates = templates.filter((template) => template.name !== name);
    return route.fulfill({ status: 204 });
  });
  await enter(page);
  const button = (label) => page.locator("#template-rows").getByRole("button", { name: label, exact: true });

  // A press is a question, and whoever goes elsewhere, or presses Escape, has said no.
  await button("Delete minimal").click();
  await expect(button("Really? Delete minimal")).toHaveText("Really?");
  await page.getByLabel("Template", { exact: true }).focus();
  await expect(button("Delete minimal")).toHaveText("Delete");
  await button("Delete minimal").focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Escape");
  await expect(button("Delete minimal")).toHaveText("Delete");
  expect(deleted).toEqual([]);

  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await expect(newest(page)).toContainText("Deleted the template minimal.");
  await expect(page.locator("#template-rows tr")).toHaveCount(2);
  await expect(page.locator("#refresh-templates")).toBeFocused();
  await button("Delete a/b ?#%").dblclick();
  await expect(newest(page)).toContainText("Deleted the template a/b ?#%.");
  await button("Delete kept").dblclick();
  await expect(page.locator("#templates .problem")).toContainText("There is no template. List the templates.");
  expect(deleted).toEqual(["DELETE minimal", "DELETE a/b ?#%", "DELETE kept"]);
});

test("a snapshot is asked for by its form, and what is in it is told", async ({ page }) => {
  const asked = [];
  let templates = [{ name: "minimal", type: "base", size_bytes: 2 ** 28 }];
  await page.route(/\/v1\/snapshots(\?.*)?$/, (route) => {
    const request = route.request();
    if (request.method() === "GET") return route.fulfill({ json: templates });
    asked.push([new URL(request.url()).search, request.postDataJSON()]);
    const made = { name: "warm.1", type: "snapshot", vcpus: 2, memory_mb: 256, size_bytes: 2 ** 27 };
    templates = [...templates, made];
    const told = { ...made, notice: "memory is in it", timings: [{ step: "freeze", ms: 2 }], frozen_ms: 21.4 };
    return route.fulfill({ status: 201, json: told });
  });
  await enter(page);
  const take = page.getByRole("button", { name: "Take snapshot" });
  await take.click();
  const name = page.getByLabel("Name, or one is made up");
  for (const bad of ["Big", ".dot", "a b"]) {
    await page.getByLabel("Source sandbox").fill("sb-1");
    await name.fill(bad);
    await take.click();
    expect(await name.evaluate((field) => field.validity.valid)).toBe(false);
  }
  expect(asked).toEqual([]);

  await name.fill("");
  await take.click();
  await expect(newest(page)).toContainText("Took the snapshot warm.1 of sb-1");
  await expect(newest(page)).toContainText("Memory is in it.");
  await expect(newest(page).locator(".detail")).toHaveText("freeze 2 ms · stood still 21 ms");
  await name.fill("warm.1");
  await page.getByLabel("Overwrite").check();
  await take.click();
  await expect.poll(() => asked.length).toBe(2);
  expect(asked).toEqual([["", { sandbox_id: "sb-1" }], ["?overwrite=true", { sandbox_id: "sb-1", name: "warm.1" }]]);

  const mine = page.locator("#template-rows tr", { hasText: "warm.1" }).first();
  await expect(mine.locator(".type")).toHaveText("snapshot");
  await expect(mine.locator(".shape")).toHaveText("2 vCPU · 256 MiB");
  await expect(mine.locator(".size")).toHaveText("128 MiB");
  await mine.getByRole("button", { name: "warm.1", exact: true }).click();
  await expect(page.getByLabel("Template", { exact: true })).toHaveValue("warm.1");
  await expect(page.getByLabel("vCPUs")).toHaveValue("2");
  await expect(page.getByLabel("Memory, MiB")).toHaveValue("256");
});

test("a fork asks how many, and what came of each is told", async ({ page }) => {
  const created_at = new Date().toISOString();
  const one = (id, status, more) => ({ id, status, template: "minimal", vcpus: 1, memory_mb: 256, created_at, ...more });
  const sandboxes = [one("sb-run", "running"), one("sb-paused", "paused"), one("sb-busy", "running", { transition: "forking" }), one("sb-over", "stopped")];
  await page.route("**/v1/sandboxes?*", (route) => route.fulfill({ json: sandboxes }));
  const asked = [];
  await page.route("**/v1/sandboxes/*/fork", (route) => {
    const { count } = route.request().postDataJSON();
    asked.push(count);
    const error = { code: "resource_exhausted", message: "the host is full", remedy: "end some sandboxes" };
    const results = Array.from({ length: count }, (_, at) => (at === 1 ? { error } : { sandbox: one(`sb-child-${at}`, "running") }));
    return route.fulfill({ status: 201, json: { results, timings: [], frozen_ms: 12 } });
  });
  await enter(page);
  const fork = (id) => row(page, id).getByRole("button", { name: `Fork ${id}` });
  await expect(fork("sb-over")).toBeHidden();
  await expect(fork("sb-busy")).toBeDisabled();
  await expect(fork("sb-paused")).toBeEnabled();

  // Whoever goes elsewhere, or presses Escape, wants none.
  const children = row(page, "sb-run").getByLabel("Children");
  await fork("sb-run").click();
  await expect(children).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(children).toBeHidden();
  await expect(fork("sb-run")).toBeFocused();
  await fork("sb-run").click();
  await page.getByLabel("Template", { exact: true }).focus();
  await expect(children).toBeHidden();

  await fork("sb-run").click();
  await children.fill("0");
  await page.keyboard.press("Enter");
  expect(await children.evaluate((field) => field.validity.valid)).toBe(false);
  expect(asked).toEqual([]);
  await children.fill("1");
  await page.keyboard.press("Enter");
  await expect(newest(page)).toContainText("Forked sb-run into 1 sandbox in");
  await expect(newest(page).locator(".detail")).toHaveText("stood still 12 ms");
  await fork("sb-run").click();
  await children.fill("3");
  await page.keyboard.press("Enter");
  await expect(newest(page)).toContainText("Forked sb-run into 2 sandboxes in");
  await expect(newest(page)).toContainText("1 more did not come to be: The host is full. End some sandboxes.");
  expect(asked).toEqual([1, 3]);
});

test("resume is offered where there is a pause to go back to", async ({ page }) => {
  const paused_at = new Date().toISOString();
  const one = (id, status, more) => ({ id, status, template: "minimal", vcpus: 1, memory_mb: 256, created_at: paused_at, ...more });
  const sandboxes = [one("sb-paused", "paused", { paused_at }), one("sb-lost", "error", {}), one("sb-back", "error", { paused_at }), one("sb-run", "running", { paused_at })];
  await page.route("**/v1/sandboxes?*", (route) => route.fulfill({ json: sandboxes }));
  await enter(page);
  for (const [id, offered] of [["sb-paused", true], ["sb-lost", false], ["sb-back", true], ["sb-run", false]]) {
    await expect(row(page, id).getByRole("button", { name: `Resume ${id}` })).toBeVisible({ visible: offered });
  }
});

/** Every text that can be seen, with its contrast to what is behind it, where that is less than WCAG's 4.5. */
function faint() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (layers) => {
    for (const layer of layers) {
      canvas.fillStyle = layer;
      canvas.fillRect(0, 0, 1, 1);
    }
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((byte) => {
      const part = byte / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!own || !element.checkVisibility() || element.disabled) continue;
    const behind = [];
    for (let up = element; up; up = up.parentElement) behind.unshift(getComputedStyle(up).backgroundColor);
    const [back, front] = [paint(behind), paint([...behind, getComputedStyle(element).color])];
    const contrast = (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
    if (contrast < 4.5) found.push(`${contrast.toFixed(1)} ${element.textContent.trim().slice(0, 40)}`);
  }
  return found;
}

test("it can be read and used in both schemes, on a phone, without motion", async ({ page }) => {
  const statuses = ["pending", "running", "paused", "stopped", "error"];
  const sandboxes = statuses.map((status, at) => ({
    id: `sb-${"abcdefghij".repeat(2).slice(at)}${"k".repeat(at)}`,
    status,
    transition: { pending: "starting", paused: "resuming" }[status],
    status_reason: { error: "the VMM was killed by signal 9", stopped: "destroyed on request" }[status],
    template: "minimal",
    vcpus: 1 << (at % 4),
    memory_mb: 512 << at,
    host_ip: ["running"].includes(status) ? "10.11.127.201" : undefined,
    created_at: new Date(Date.now() - at * 9e6).toISOString(),
  }));
  await page.route("**/v1/sandboxes?*", (route) => route.fulfill({ json: sandboxes }));
  await page.emulateMedia({ reducedMotion: "reduce" });
  await enter(page);
  await expect(page.locator("#sandbox-rows tr")).toHaveCount(5);
  await page.getByLabel("Sandbox", { exact: true }).fill("sb-absent");
  await page.getByRole("button", { name: "Run" }).click();
  await expect(newest(page)).toContainText("failed");
  await picture(page, "states");
  for (const width of [1280, 800, 360]) {
    await page.setViewportSize({ width, height: 740 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      expect(await page.evaluate(faint)).toEqual([]);
    }
  }
  const buttons = page.locator("button:not(.link):visible");
  for (const box of await buttons.evaluateAll((all) => all.map((one) => one.getBoundingClientRect().height))) {
    expect(box).toBeGreaterThanOrEqual(40);
  }
  for (const field of await page.locator("input:visible, select:visible").all()) {
    expect(await field.evaluate((one) => one.labels.length)).toBe(1);
  }
  expect(await buttons.first().evaluate((one) => getComputedStyle(one).transitionProperty)).toBe("none");
});
