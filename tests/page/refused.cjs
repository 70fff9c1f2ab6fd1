// SPDX-License-Identifier: Apache-2.0
// Pages of other sites, places without changes, and askers without a name change nothing.
const { assert, admins, get, run, until, URL_OF_PAGE } = require("./kit.cjs");
const own = new URL(URL_OF_PAGE);
const elsewhere = "http://localhost:" + own.port + "/elsewhere.html";

run(async (open) => {
  const page = await open({ elsewhere: true }, elsewhere);
  const answers = [];
  page.on("response", (answer) => { if (answer.request().method() === "POST") answers.push(answer.status()); });
  // Without preflight, with one, and as a form.
  const batch = own.origin + "/lb/api/v1/batch";
  const body = '[{"method":"PATCH","path":"/api/v1/pools/app/members/a","body":{"admin":"disabled"}}]';
  await page.evaluate(async ([batch, body]) => {
    await fetch(batch, { method: "POST", mode: "no-cors", body });
    for (const method of ["POST", "PATCH", "PUT", "DELETE"]) {
      const target = method === "POST" ? batch : batch.replace("batch", "pools/app/members/a");
      await fetch(target, { method, body: method === "DELETE" ? undefined : body, headers: { "Content-Type": "application/json" } }).then(() => { throw new Error(method + " was answered"); }, () => 0);
    }
  }, [batch, body]);
  await page.evaluate(([batch, body]) => {
    const form = document.createElement("form");
    Object.assign(form, { action: batch, method: "POST", enctype: "text/plain" });
    form.append(Object.assign(document.createElement("input"), { name: body.slice(0, -1) + ',"', value: '"]' }));
    document.body.append(form);
    form.submit();
  }, [batch, body]);
  await page.waitForURL(batch);
  await until("answers", async () => answers.length, (number) => number >= 2);
  assert(answers.every((status) => status === 403), String(answers));
  assert((await page.textContent("body")).includes("Sec-Fetch-Site"));
  // Nobody may show the page in a frame either.
  const frame = await open({ elsewhere: true }, elsewhere);
  await frame.evaluate((url) => document.body.append(Object.assign(document.createElement("iframe"), { src: url })), URL_OF_PAGE);
  await until("the frame", () => frame.frames().length, (number) => number === 2);
  await frame.waitForLoadState("networkidle");
  assert.equal(await frame.frames()[1].locator("[role=tablist]").count(), 0);
  await frame.context().close();

  // The page itself, where changes are off, and where they need a user.
  for (const [place, words] of [["off", "LuaBalancerAdmin on allows them"], ["user", "needs a user"]]) {
    const there = await open({}, own.origin + "/" + place + "/");
    await there.getByRole("button", { name: "a", exact: true }).click();
    await there.locator("dialog").getByText("Disable", { exact: true }).click();
    await there.locator("dialog").getByRole("button", { name: "Apply" }).click();
    await there.locator("dialog .error", { hasText: "Not allowed" }).getByText(words).waitFor();
  }
  assert.equal((await admins()).a, "ready");
  assert.equal((await get("pools/app/members/a")).overrides.length, 0);
});
