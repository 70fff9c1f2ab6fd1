// SPDX-License-Identifier: Apache-2.0
// The pictures of the documents: scripts/page-pictures.
const { run } = require("./kit.cjs");

const folder = process.env.PICTURES;
const pictures = [["page-light", "light", "Pools"], ["page-dark", "dark", "Pools"], ["page-events", "light", "Events"], ["page-decisions", "light", "Decisions"]];

run(async (open) => {
  for (const [name, colorScheme, tab] of pictures) {
    const page = await open({ colorScheme, viewport: { width: 1360, height: 820 }, locale: "en-GB", timezoneId: "UTC" });
    await page.getByRole("tab", { name: tab }).click();
    // Rates are known from the second answer on.
    await page.waitForTimeout(7000);
    await page.screenshot({ path: folder + "/" + name + ".png" });
  }
});
