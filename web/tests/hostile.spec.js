// Whatever a guest, a caller or a broken server says is shown as it is, and does nothing.

import { enter, expect, newest, row, test } from "./fixture.js";

const CORPUS = {
  "script tag": "<script>window.hacked = 1</script>",
  "closed script": "</script><script>window.hacked = 1</script>",
  "closed template": "</template></td></table><script>window.hacked = 1</script>",
  "event handler": `"><img src=x onerror="window.hacked = 1">`,
  "svg": "<svg/onload=window.hacked=1>",
  "style": "<style>* { display: none }</style>",
  "frame": `<iframe srcdoc="<script>parent.hacked = 1</script>"></iframe>`,
  "base and meta": `<base href="//example.invalid/"><meta http-equiv="refresh" content="0;url=javascript:hacked=1">`,
  "attribute": `x" autofocus onfocus="window.hacked = 1`,
  "quotes": `'"\`\\\${window.hacked = 1}`,
  "entities": "&lt;b&gt; &amp; &#x3c;script&#x3e; &quot;",
  "URL": "javascript:window.hacked = 1",
  "data URL": "data:text/html,<script>window.hacked = 1</script>",
  "path": "../../v1/sandboxes/..%2f?x=1#y",
  "prototype": "__proto__",
  "direction": "sb-\u202Eexe.txt\u202C \u2066\u2069 \u200F\u200B\uFEFF end",
  "control characters": "a\u0000b\u0007c\u001B[31mred\u001B[0m\u0085\uFFFF",
  "lone surrogate": "a\uD800b",
  "combining": `Z${"\u0351".repeat(200)}`,
  "template literal": "{{constructor.constructor('window.hacked = 1')()}}",
  "very long": "W".repeat(20_000),
};
const cases = Object.entries(CORPUS);

/** The text in the page, without the white space that a comparison of Playwright's would forgive. */
const text = (locator) => locator.evaluate((element) => element.textContent);

/** Asks for the text until it is as expected; often, since there are many of these. */
const shown = (locator, message) => expect.poll(() => text(locator), { message, intervals: [20, 30, 50, 100] });

async function notWiderThanThePage(page) {
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(page.viewportSize().width);
}

/** JSON that keeps what has no place in UTF-8. */
function json(value) {
  const body = JSON.stringify(value).replace(/[\u0080-\uFFFF]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return { contentType: "application/json", body };
}

/** The texts of all elements, in their order. */
const texts = (locator) => locator.evaluateAll((all) => all.map((element) => element.textContent));
const corpus = Object.values(CORPUS);

test("in the list of sandboxes", async ({ page }) => {
  const sandboxes = corpus.map((evil) => ({
    id: evil, status: evil, transition: evil, status_reason: evil, template: evil, vcpus: evil, memory_mb: evil,
    host_ip: evil, created_at: evil,
  }));
  await page.route("**/v1/sandboxes?*", (route) => route.fulfill(json(sandboxes)));
  await enter(page);
  const rows = page.locator("#sandbox-rows tr");
  await expect(rows).toHaveCount(corpus.length);
  for (const part of ["id", "badge", "transition", "reason", "template", "vcpus", "host-ip", "created"]) {
    expect(await texts(rows.locator(`.${part}`)), part).toEqual(corpus);
  }
  expect(await texts(rows.locator(".memory"))).toEqual(corpus.map((evil) => `${evil} MiB`));
  expect(new Set(await rows.evaluateAll((all) => all.map((one) => one.dataset.status)))).toEqual(new Set(["unknown"]));
  await notWiderThanThePage(page);
  for (const [at, evil] of corpus.entries()) {
    await rows.locator(".id").nth(at).click();
    expect(await page.locator("#exec-id").inputValue()).toBe(evil);
  }
  await page.setViewportSize({ width: 360, height: 740 });
  await notWiderThanThePage(page);
});

test("a direction stays in the field that it came in", async ({ page }) => {
  const evil = CORPUS.direction;
  const sandbox = { id: evil, status: "error", status_reason: evil, template: evil, vcpus: 1, memory_mb: 1, created_at: evil };
  await page.route("**/v1/sandboxes?*", (route) => route.fulfill(json([sandbox])));
  await enter(page);
  for (const part of ["id", "badge", "reason", "template", "created"]) {
    const how = await page.locator(`#sandbox-rows .${part}`).evaluate((element) => getComputedStyle(element).unicodeBidi);
    expect(how, part).toBe("isolate");
  }
});

test("in the list of templates", async ({ page }) => {
  const templates = corpus.map((evil) => ({ name: evil, type: evil, size_bytes: evil, vcpus: evil, memory_mb: evil }));
  await page.route("**/v1/snapshots", (route) => route.fulfill(json(templates)));
  await enter(page);
  const names = page.locator("#template-rows .name");
  await expect(names).toHaveCount(corpus.length);
  expect(await texts(names)).toEqual(corpus);
  expect(await texts(page.locator("#template-rows .type"))).toEqual(corpus);
  await notWiderThanThePage(page);
  for (const [at, evil] of corpus.entries()) {
    await names.nth(at).click();
    expect(await page.locator("#template").inputValue()).toBe(evil);
  }
});

test("in what a command printed and how it ended", async ({ page }) => {
  let said;
  await page.route("**/exec", (route) => route.fulfill(json(said)));
  await enter(page);
  await page.locator("#exec-id").fill("sb-any");
  for (const [name, evil] of cases) {
    said = { stdout: evil, stderr: evil, exit_code: evil, duration_ms: evil, truncated: true, stdout_file: evil };
    await page.locator("#cmd").fill(evil);
    await page.locator("#args").fill(evil);
    await page.locator("#exec-form button").click();
    await shown(page.locator("#stdout"), name).toBe(evil);
    expect(await text(page.locator("#stderr"))).toBe(evil);
    expect(await text(page.locator("#verdict"))).toContain(`Exit code ${evil} · `);
    // Of half a character the browser's driver makes a whole one when it types.
    const typed = Buffer.from(evil).toString();
    expect(await text(newest(page).locator(".what"))).toContain(`Ran ${typed} ${typed.split(",").join(" ")} in sb-any`);
    await notWiderThanThePage(page);
  }
});

test("in a refusal", async ({ page }) => {
  let said;
  await page.route("**/exec", (route) => route.fulfill({ status: 409, ...json({ error: said }) }));
  await enter(page);
  await page.locator("#exec-id").fill("sb-any");
  for (const [name, evil] of cases) {
    said = { code: evil, message: evil, remedy: evil, request_id: evil };
    await page.locator("#exec-form button").click();
    // Only its first letter and its full stop are ours.
    await shown(newest(page).locator(".detail"), name).toBe(`${evil} · 409 · ${evil}`);
    const spoken = evil.charAt(0).toUpperCase() + evil.slice(1);
    expect(await text(page.locator("#exec-form .problem")), name).toContain(spoken);
    expect(await text(newest(page).locator(".what")), name).toContain(spoken);
    await notWiderThanThePage(page);
  }
});

test("in the answers to create, pause and resume", async ({ page }) => {
  const sandbox = { id: "sb-any", status: "running", template: "minimal", vcpus: 1, memory_mb: 512, created_at: "2026-01-01T00:00:00Z" };
  let said;
  await page.route("**/v1/sandboxes?*", (route) => route.fulfill(json([sandbox])));
  await page.route("**/v1/sandboxes", (route) => route.fulfill({ status: 201, ...json(said) }));
  await page.route("**/pause", (route) => route.fulfill(json(said)));
  await enter(page);
  for (const [name, evil] of cases) {
    said = { id: evil, timings: [{ step: evil, ms: 1 }, { step: 2, ms: evil }, null], lost_since: evil };
    await page.getByRole("button", { name: "Create" }).click();
    await shown(newest(page).locator(".what"), name).toContain(`Created ${evil} in `);
    await page.getByRole("button", { name: "Pause sb-any" }).click();
    await shown(newest(page).locator(".what"), name).toContain(`since ${evil} is lost`);
    expect(await text(newest(page).locator(".detail")), name).toContain(`${evil} 1 ms · `);
    await notWiderThanThePage(page);
  }
});

test("answers of a wrong shape are refused in words", async ({ page }) => {
  let said;
  await page.route("**/v1/sandboxes?*", (route) => route.fulfill(said));
  said = { json: [] };
  await enter(page);
  for (const broken of [{ body: "<html>proxy</html>" }, { body: "{" }, { json: {} }, { json: null }, { status: 502, body: "" }, { status: 500, json: { error: "text" } }]) {
    said = broken;
    await page.locator("#refresh").click();
    await expect(page.locator("#list-problem")).not.toBeEmpty();
    said = { json: [] };
    await page.locator("#refresh").click();
    await expect(page.locator("#list-problem")).toBeEmpty();
  }
});

test("from a real guest and a real server", async ({ page, api }) => {
  const id = await api.create({ memory_mb: 256 });
  await enter(page);
  await row(page, id).getByRole("button", { name: id, exact: true }).click();
  // All of them as arguments of one command: those that an argument can carry, and the form's commas do not cut.
  const carried = corpus.filter((evil) => !/[\0,\uD800]/.test(evil));
  expect(carried.length).toBeGreaterThan(15);
  await page.locator("#cmd").fill("printf");
  await page.locator("#args").fill(["%s\\n", ...carried].join(","));
  await page.locator("#exec-form button").click();
  await shown(page.locator("#stdout")).toBe(`${carried.join("\n")}\n`);
  // Bytes that are no UTF-8 come as base64.
  await page.locator("#cmd").fill("/bin/sh");
  await page.locator("#args").fill("-c,printf '<b>\\377</b>'");
  await page.locator("#exec-form button").click();
  await shown(page.locator("#stdout")).toBe("<b>\uFFFD</b>");
  await expect(page.locator("#verdict")).toContainText("not all of it is UTF-8");

  for (const [name, evil] of cases) {
    await page.locator("#template").fill(evil);
    await page.locator("#exec-id").fill(evil);
    await page.getByRole("button", { name: "Create" }).click();
    await page.locator("#exec-form button").click();
    await expect(page.locator("#create-form .problem"), name).not.toBeEmpty();
    await expect(page.locator("#exec-form .problem"), name).not.toBeEmpty();
    await notWiderThanThePage(page);
  }
});
