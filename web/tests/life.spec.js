// A sandbox's life by the page, over a real microVM.

import { KEY, enter, expect, newest, picture, row, test } from "./fixture.js";

const ID = /sb-[a-z0-9]+/;

/** The id in the newest line of the log, of a sandbox that was just created. */
async function created(page, api) {
  await expect(newest(page)).toContainText("Created sb-", { timeout: 40_000 });
  const [id] = ID.exec(await newest(page).textContent());
  api.destroyLater(id);
  return id;
}

/** Runs a command by the form; its output. */
async function run(page, args) {
  await page.getByLabel("Arguments").fill(args);
  await page.getByRole("button", { name: "Run" }).click();
  await expect(page.locator("#verdict")).toContainText("Exit code");
  return page.locator("#stdout").textContent();
}

test("create, exec, pause, resume, destroy", async ({ page, api }) => {
  await enter(page);
  await page.getByLabel("Memory, MiB").fill("256");
  await page.getByLabel("vCPUs").fill("2");
  await page.getByLabel("On timeout").selectOption("pause");
  const create = page.getByRole("button", { name: "Create" });
  await create.click();
  await expect(create).toBeDisabled();
  const id = await created(page, api);
  await expect(create).toBeEnabled();

  const mine = row(page, id);
  await expect(mine.locator(".badge")).toHaveText("running");
  await expect(mine.locator(".template")).toHaveText("minimal");
  await expect(mine.locator(".vcpus")).toHaveText("2");
  await expect(mine.locator(".memory")).toHaveText("256 MiB");
  await expect(mine.locator(".host-ip")).toHaveText(/^[0-9.]+$/);
  expect(await api.get(id)).toMatchObject({ status: "running", vcpus: 2, memory_mb: 256, on_timeout: "pause", auto_resume: false });

  await mine.getByRole("button", { name: id, exact: true }).click();
  await expect(page.getByLabel("Sandbox", { exact: true })).toHaveValue(id);
  expect(await run(page, "-c,uname -a")).toContain("Linux sandbox");
  await expect(page.locator("#verdict")).toHaveText(/^Exit code 0 · [0-9.]+ m?s$/);
  await run(page, "-c,echo kept >/dev/shm/note; echo no >&2; exit 3");
  await expect(page.locator("#verdict")).toHaveText(/^Exit code 3 · /);
  await expect(page.locator("#stderr")).toHaveText("no");

  await mine.getByRole("button", { name: "Pause" }).click();
  await expect(mine.locator(".badge")).toHaveText("paused");
  await expect(newest(page).locator(".what")).toHaveText(new RegExp(`^Paused ${id} in [0-9.]+ m?s\\.$`));
  await expect(newest(page).locator(".detail")).toHaveText(/^\w.* [0-9.]+ m?s( · .+ [0-9.]+ m?s)+$/);
  await expect(mine.getByRole("button", { name: "Pause" })).toBeHidden();

  await page.getByRole("button", { name: "Run" }).click();
  await expect(newest(page)).toContainText("failed");
  await expect(page.locator("#exec-form .problem")).not.toBeEmpty();
  await expect(page.locator("#verdict")).toBeEmpty();

  await mine.getByRole("button", { name: "Resume" }).click();
  await expect(newest(page).locator(".what")).toHaveText(new RegExp(`^Resumed ${id} in [0-9.]+ m?s\\.$`));
  await expect(mine.locator(".badge")).toHaveText("running");
  expect(await run(page, "-c,cat /dev/shm/note")).toBe("kept\n");
  await picture(page, "console");

  await mine.getByRole("button", { name: "Destroy" }).click();
  await expect(mine.locator(".badge")).toHaveText("stopped");
  await expect(mine.locator(".reason")).toHaveText("destroyed on request");
  await expect(mine.locator(".actions").getByRole("button")).toHaveCount(0);
  await page.getByLabel("Show stopped").uncheck();
  await expect(mine).toBeHidden();
  expect((await api.get(id)).status).toBe("stopped");
});

test("what a sandbox is becomes a template, and other sandboxes", async ({ page, api }) => {
  const source = await api.create({ memory_mb: 256 });
  const name = `of-${source.slice(3, 11)}`;
  await enter(page);
  await row(page, source).getByRole("button", { name: source, exact: true }).click();
  await run(page, "-c,echo kept >/dev/shm/note");

  await expect(page.getByLabel("Source sandbox")).toHaveValue(source);
  await page.getByLabel("Name, or one is made up").fill(name);
  await page.getByRole("button", { name: "Take snapshot" }).click();
  await expect(newest(page)).toContainText(`Took the snapshot ${name} of ${source}`);
  await expect(row(page, source).locator(".badge")).toHaveText("running");
  await page.locator("#template-rows").getByRole("button", { name, exact: true }).click();
  await page.getByRole("button", { name: "Create" }).click();
  const copy = await created(page, api);
  await row(page, copy).getByRole("button", { name: copy, exact: true }).click();
  expect(await run(page, "-c,cat /dev/shm/note")).toBe("kept\n");
  const remove = page.locator("#template-rows").getByRole("button", { name: `Delete ${name}`, exact: true });
  await remove.dblclick();
  await expect(newest(page)).toContainText(`Deleted the template ${name}.`);

  await row(page, source).getByRole("button", { name: `Fork ${source}` }).click();
  await row(page, source).getByLabel("Children").fill("2");
  await page.keyboard.press("Enter");
  await expect(newest(page)).toContainText(`Forked ${source} into 2 sandboxes`);
  const children = (await api.list()).filter((sandbox) => sandbox.parent_id === source);
  expect(children.length).toBe(2);
  for (const { id } of children) {
    api.destroyLater(id);
    await row(page, id).getByRole("button", { name: id, exact: true }).click();
    expect(await run(page, "-c,cat /dev/shm/note")).toBe("kept\n");
  }
});

/** Goes on by Tab until `target` has the focus; on the way the focus has to be seen. */
async function tabTo(page, target, key = "Tab") {
  for (let presses = 0; presses < 60; presses++) {
    await page.keyboard.press(key);
    const outline = await page.evaluate(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      return document.activeElement === document.body || (outlineStyle !== "none" && parseFloat(outlineWidth) >= 2);
    });
    expect(outline).toBe(true);
    if (await target.evaluate((element) => element === document.activeElement)) return;
  }
  throw new Error(`the keyboard does not reach ${target}`);
}

test("all of it with the keyboard alone", async ({ page, api }) => {
  await page.goto("/test");
  await expect(page.getByLabel("Key", { exact: true })).toBeFocused();
  await page.keyboard.type(KEY);
  await page.keyboard.press("Enter");
  await expect(page.getByLabel("Template", { exact: true })).toBeFocused();

  await tabTo(page, page.getByLabel("Memory, MiB"));
  await page.keyboard.type("256");
  await tabTo(page, page.getByLabel("Resume on use"));
  await page.keyboard.press("Space");
  await tabTo(page, page.getByRole("button", { name: "Create" }));
  await page.keyboard.press("Enter");
  const id = await created(page, api);
  expect(await api.get(id)).toMatchObject({ memory_mb: 256, auto_resume: true });
  await expect(page.getByRole("button", { name: "Create" })).toBeFocused();

  const mine = row(page, id);
  await tabTo(page, mine.getByRole("button", { name: "Pause" }));
  await page.keyboard.press("Enter");
  await expect(mine.locator(".badge")).toHaveText("paused");
  // The button that had the focus is gone; the focus stays in the row.
  await expect(mine.locator(":focus")).toHaveCount(1);
  await tabTo(page, mine.getByRole("button", { name: "Resume" }));
  await page.keyboard.press("Space");
  await expect(mine.locator(".badge")).toHaveText("running");
  await expect(mine.locator(":focus")).toHaveCount(1);

  await tabTo(page, page.getByLabel("Arguments"));
  await page.keyboard.press("Control+A");
  await page.keyboard.type("-c,echo by keyboard");
  // The command wakes the sandbox, as was asked for when it was made.
  await tabTo(page, mine.getByRole("button", { name: "Pause" }), "Shift+Tab");
  await page.keyboard.press("Enter");
  await expect(mine.locator(".badge")).toHaveText("paused");
  await tabTo(page, page.getByLabel("Arguments"));
  await page.keyboard.press("Enter");
  await expect(page.locator("#stdout")).toHaveText("by keyboard");
  await expect(mine.locator(".badge")).toHaveText("running");

  await tabTo(page, mine.getByRole("button", { name: "Destroy" }), "Shift+Tab");
  await page.keyboard.press("Enter");
  await expect(mine.locator(".badge")).toHaveText("stopped");
  await tabTo(page, page.getByRole("button", { name: "Forget key" }), "Shift+Tab");
  await page.keyboard.press("Enter");
  await expect(page.getByLabel("Key", { exact: true })).toBeFocused();
});
