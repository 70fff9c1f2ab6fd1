// SPDX-License-Identifier: Apache-2.0
// A Chromium, and what every page has to keep: no error, no dialog, nothing against its policy.
const assert = require("node:assert/strict");
const { chromium } = require("playwright-core");

const URL_OF_PAGE = process.env.PAGE;

/** Runs `body` with a function that opens pages; fails when one of them did what none may. */
async function browse(body) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
  const faults = [];
  const open = async (options = {}, url = URL_OF_PAGE) => {
    const context = await browser.newContext({ viewport: { width: 1500, height: 900 }, ...options });
    await context.addInitScript(() => {
      window.reports = [];
      document.addEventListener("securitypolicyviolation", (event) => window.reports.push(event.violatedDirective + " " + event.blockedURI));
    });
    const page = await context.newPage();
    page.setDefaultTimeout(30000);
    page.on("pageerror", (error) => faults.push("error: " + error.stack));
    page.on("dialog", (dialog) => { faults.push("a dialog: " + dialog.message()); dialog.dismiss(); });
    page.on("console", (message) => { if (!options.elsewhere && /Content Security Policy/.test(message.text())) faults.push(message.text()); });
    const own = new URL(url).origin;
    if (!options.elsewhere) page.on("request", (request) => { if (!request.url().startsWith(own) && !request.url().startsWith("data:")) faults.push("asked for " + request.url()); });
    await page.goto(url);
    if (options.javaScriptEnabled !== false && !options.elsewhere) await page.waitForSelector("[role=tablist]");
    return page;
  };
  try {
    await body(open);
    for (const context of browser.contexts()) {
      for (const page of context.pages()) faults.push(...(await page.evaluate(() => window.reports || []).catch(() => [])));
    }
    assert.deepEqual(faults, []);
  } finally {
    await browser.close();
  }
}

/** Waits until `look` answers something that `is` takes. */
async function until(what, look, is = Boolean) {
  const end = Date.now() + 30000;
  for (;;) {
    const seen = await look();
    if (is(seen)) return seen;
    assert(Date.now() < end, what + ": " + JSON.stringify(seen));
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** A document of the API. */
async function get(path) {
  const answer = await fetch(URL_OF_PAGE + "api/v1/" + path);
  return answer.json();
}

/** A change that somebody else makes. */
async function patch(member, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(URL_OF_PAGE + "api/v1/pools/app/members/" + member, { method: "PATCH", headers, body: JSON.stringify(body) });
  assert.equal(answer.status, 200, await answer.text());
}

const admins = async () => Object.fromEntries((await get("pools/app")).members.map((one) => [one.name, one.admin]));
const run = (body) => browse(body).catch((error) => { console.error(error); process.exit(1); });

module.exports = { assert, admins, get, patch, run, until, URL_OF_PAGE };
