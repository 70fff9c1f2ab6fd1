// SPDX-License-Identifier: Apache-2.0
// No finding of axe, nothing wider than the window, and how long drawing takes.
const fs = require("node:fs");
const { assert, run } = require("./kit.cjs");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const members = Number(process.env.MEMBERS);

async function check(page, what) {
  // By the debugger: the page's own policy lets no other script in.
  await page.evaluate(axe + ";0");
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const violations = found.violations.map((one) => [one.id, one.help, one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200) + " " + node.failureSummary)]);
  assert.deepEqual(violations, [], what);
}

run(async (open) => {
  for (const colorScheme of ["light", "dark"]) {
    const page = await open({ colorScheme, reducedMotion: "reduce" });
    await check(page, colorScheme);
    for (const width of [400, 1000, 2000]) {
      await page.setViewportSize({ width, height: 800 });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert(wide <= width, "at " + width + " it is " + wide + " wide");
    }
    if (members > 0 && members <= 100) {
      await page.setViewportSize({ width: 420, height: 800 });
      await check(page, colorScheme + ", narrow");
      await page.locator("tbody .pick input").first().check();
      await page.locator("#bar").getByRole("button", { name: "Drain" }).click();
      await check(page, colorScheme + ", dialog");
      await page.keyboard.press("Escape");
      await page.getByRole("tab", { name: "Children" }).click();
      await page.getByRole("cell").first().waitFor();
      await check(page, colorScheme + ", children");
    }
    if (process.env.SHOTS) {
      await page.getByRole("tab", { name: "Pools" }).click();
      await page.keyboard.press("Escape");
      await page.setViewportSize({ width: 1400, height: 700 });
      await page.waitForTimeout(5000);
      await page.screenshot({ path: process.env.SHOTS + "/page-" + members + "-" + colorScheme + ".png" });
    }
    const drawn = await page.waitForFunction(() => performance.getEntriesByName("draw")[0]);
    console.log(members + " members, " + colorScheme + ": drawn in " + (await drawn.evaluate((one) => one.duration)).toFixed(0) + " ms");
    await page.context().close();
  }
  const plain = await open({ javaScriptEnabled: false, viewport: { width: 400, height: 800 } });
  assert((await plain.evaluate(() => document.documentElement.scrollWidth)) <= 400);
});
