// SPDX-License-Identifier: Apache-2.0
// Everything by keyboard, with the focus to be seen.
const { assert, admins, run, until } = require("./kit.cjs");

run(async (open) => {
  const page = await open();
  const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") || document.activeElement.textContent);
  const press = async (...keys) => { for (const key of keys) await page.keyboard.press(key); };
  const seen = () => page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);

  await press("/");
  assert.equal(await focused(), "Find members");
  await page.keyboard.type("b up");
  await page.getByText("1 member found").waitFor();
  await press("Escape");
  assert.equal(await page.locator("#search").inputValue(), "");

  await press("Tab");
  assert.equal(await focused(), "Select all members of app");
  await press("Tab");
  assert.equal(await focused(), "Select a");
  assert.equal(await seen(), "solid");
  await press("ArrowDown", "Space");
  assert.equal(await focused(), "Select b");
  await press("Shift+ArrowDown");
  await page.getByText("2 members selected").waitFor();
  await press("Escape");
  assert.equal(await page.locator("#bar").isVisible(), false);
  await press("End");
  assert.equal(await focused(), "Select c");
  await press("Home", "Tab");
  assert.equal(await focused(), "a");
  await press("Enter");
  assert.equal(await page.locator("dialog").isVisible(), true);
  await press("Escape");
  assert.equal(await page.locator("dialog").isVisible(), false);
  assert.equal(await focused(), "a", "the focus is back where it was");

  // Drains a, and takes it back.
  await press("Enter", "ArrowRight");
  await page.locator("dialog").getByLabel("Note").waitFor();
  await press("Enter");
  await until("drained", admins, (all) => all.a === "drain");
  await page.locator(".toast .undo").waitFor();
  await press("Control+z");
  await until("taken back", admins, (all) => all.a === "ready");

  await page.getByRole("tab", { name: "Pools" }).focus();
  await press("ArrowRight");
  assert.equal(await focused(), "Scripts");
  assert.equal(await page.getByRole("tab", { name: "Scripts" }).getAttribute("aria-selected"), "true");
});
