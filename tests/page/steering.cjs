// SPDX-License-Identifier: Apache-2.0
// Drain, weight, batches, taking back, and what is said when somebody else was faster.
const { assert, admins, get, patch, run, until } = require("./kit.cjs");

run(async (open) => {
  const page = await open();
  const member = (name) => page.locator("tr", { has: page.getByRole("button", { name, exact: true }) });
  const dialog = page.locator("dialog");
  const toast = page.locator(".toast");
  const apply = async () => {
    await dialog.getByRole("button", { name: "Apply" }).click();
    await dialog.waitFor({ state: "hidden" });
  };

  // One, with a deadline and a note.
  await member("a").locator(".name").click();
  await dialog.getByText("Drain", { exact: true }).click();
  await dialog.getByLabel("Ends").selectOption("30m");
  await dialog.getByLabel("Then").selectOption("disabled");
  await dialog.getByLabel("Note").fill("deploy <42>");
  await apply();
  const drained = await get("pools/app/members/a");
  assert.deepEqual([drained.admin, drained.then, drained.note], ["drain", "disabled", "deploy <42>"]);
  assert(Math.abs(Date.parse(drained.until) - Date.now() - 1800e3) < 60e3, drained.until);
  await member("a").getByText("deploy <42>").waitFor();
  await toast.getByRole("button", { name: "Undo" }).click();
  await until("taken back", async () => (await get("pools/app/members/a")).admin, (admin) => admin === "ready");
  assert.deepEqual((await get("pools/app/members/a")).overrides, []);

  // A weight, and back to the configured one.
  await member("b").locator(".name").click();
  await dialog.getByText("Weight", { exact: true }).first().waitFor();
  await dialog.locator("label", { hasText: "Weight" }).first().click();
  await dialog.getByLabel("Weight", { exact: true }).last().fill("7.5");
  await apply();
  assert.equal((await get("pools/app/members/b")).weight, 7.5);
  await toast.getByRole("button", { name: "Undo" }).last().click();
  await until("the weight", async () => (await get("pools/app/members/b")).weight, (weight) => weight === 1);

  // Several at once.
  for (const name of ["a", "b"]) await member(name).locator("input").check();
  await page.locator("#bar").getByRole("button", { name: "Disable" }).click();
  await dialog.getByLabel("Note").fill("both");
  await apply();
  assert.deepEqual(await admins(), { a: "disabled", b: "disabled", c: "ready" });
  await page.locator("#bar").getByRole("button", { name: "Enable" }).click();
  await until("enabled", admins, (all) => all.a === "ready" && all.b === "ready");
  await toast.getByRole("button", { name: "Undo" }).last().click();
  await until("disabled again", admins, (all) => all.a === "disabled" && all.b === "disabled");
  assert.equal((await get("pools/app/members/b")).note, "both");

  // An offer ends after ten seconds.
  await until("no offer any more", () => toast.getByRole("button", { name: "Undo" }).count(), (number) => number === 0);

  // Somebody else was faster: 412 in words, and nothing is done.
  await page.keyboard.press("Escape");
  await member("c").locator(".name").click();
  await dialog.getByText("Disable", { exact: true }).click();
  await patch("c", { weight: 3 });
  await dialog.getByRole("button", { name: "Apply" }).click();
  await dialog.getByText("Somebody has changed c meanwhile").waitFor();
  assert.equal((await get("pools/app/members/c")).admin, "ready");
  // Who has looked at it again may repeat the change.
  await dialog.getByText("3 ordered").waitFor();
  await apply();
  assert.equal((await get("pools/app/members/c")).admin, "disabled");
  await member("c").getByText("disabled", { exact: true }).waitFor();
  await patch("c", { admin: "ready" });
  await member("c").getByText("up", { exact: true }).waitFor();

  // Without an answer to the question before a change, nothing was changed.
  await member("c").locator(".name").click();
  await dialog.getByText("Disable", { exact: true }).click();
  await page.context().setOffline(true);
  await dialog.getByRole("button", { name: "Apply" }).click();
  await dialog.getByText("Nothing was changed.").waitFor();
  await page.context().setOffline(false);
  await page.locator("#live.live").waitFor();
  await page.keyboard.press("Escape");

  // The words of other answers.
  for (const [status, words] of [[403, "Not allowed"], [409, "In conflict"], [429, "Too many changes"]]) {
    await page.route("**/members/c", (route) => (route.request().method() === "PATCH"
      ? route.fulfill({ status, headers: { "Content-Type": "application/problem+json", "Retry-After": "1" }, body: '{"detail":"<b>why</b>"}' })
      : route.continue()));
    await member("c").locator(".name").click();
    await dialog.getByText("Disable", { exact: true }).click();
    await dialog.getByRole("button", { name: "Apply" }).click();
    await dialog.getByText(words).waitFor();
    assert((await dialog.locator(".error").textContent()).includes("<b>why</b>"));
    await page.keyboard.press("Escape");
    await page.unroute("**/members/c");
  }
});
