// SPDX-License-Identifier: Apache-2.0
// The page without a script, hostile texts, tabs that the server does not have.
const { assert, get, run, until, URL_OF_PAGE } = require("./kit.cjs");
const MARKUP = "<img src=x onerror=alert(1)>";

run(async (open) => {
  const plain = await open({ javaScriptEnabled: false });
  const text = await plain.locator("main").innerText();
  for (const word of ["app", "3 of 4 usable", "draining", MARKUP, "round_robin", "refused"]) assert(text.includes(word), word + ": " + text);
  assert.equal(await plain.locator("main img, main script").count(), 0);

  const page = await open();
  await page.locator("tr", { hasText: "draining" }).getByText(MARKUP).waitFor();
  await page.locator("#warnings", { hasText: "is refused" }).waitFor();
  await page.getByRole("button", { name: "a", exact: true }).click();
  await page.locator("dialog").getByText("version " + MARKUP).waitFor();
  await page.keyboard.press("Escape");
  for (const tab of ["Scripts", "Decisions", "Events", "Discovery", "Dictionaries", "Children"]) {
    await page.getByRole("tab", { name: tab }).click();
    await page.locator("[role=tabpanel]:visible table, [role=tabpanel]:visible .empty").first().waitFor();
  }
  // The words of an event stand before what they are made of.
  await page.getByRole("tab", { name: "Events" }).click();
  await page.getByRole("tabpanel", { name: "Events" }).getByRole("columnheader").nth(2).getByText("message").waitFor();
  await page.getByRole("tab", { name: "Scripts" }).click();
  await page.getByRole("cell", { name: "refused", exact: true }).waitFor();
  assert.equal(await page.locator("main img").count(), 0);
  assert.equal(new URL(page.url()).hash, "#scripts");

  // A place that the server does not have is asked once.
  let asked = 0;
  await page.route("**/api/v1/discovery", (route) => { asked += 1; return route.fulfill({ status: 404, body: "" }); });
  await page.getByRole("tab", { name: "Discovery" }).click();
  await page.getByRole("tabpanel", { name: "Discovery" }).getByText("This server does not have that.").waitFor();
  await page.waitForResponse((answer) => answer.url().endsWith("/pools"));
  await page.waitForResponse((answer) => answer.url().endsWith("/pools"));
  assert.equal(asked, 1);

  // A page to sign in at is no answer.
  await page.route("**/api/v1/pools", (route) => route.fulfill({ status: 200, contentType: "text/html", body: "<p>Sign in</p>" }));
  await page.locator("#live.lost").waitFor();
  await page.unroute("**/api/v1/pools");
  await page.locator("#live.live").waitFor();

  // Polls of what has not changed cost nothing, and a page that is not there asks nothing.
  const poll = await page.waitForResponse((answer) => answer.url().endsWith("/pools"));
  assert.equal(poll.status(), 304);
  const base = await fetch(URL_OF_PAGE.replace(/\/$/, ""), { redirect: "manual" });
  assert.equal(base.status, 308);
  await until("the status", () => get("status"), (status) => status.warnings.length > 0);
});
