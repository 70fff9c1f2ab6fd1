// SPDX-License-Identifier: Apache-2.0
// Spark lines and shares, as SVG with attributes alone.

const WIDE = 300;
const HIGH = 36;

/** Requests and errors a second over ten minutes. What is not known is a gap. */
function showSpark(figure, name) {
  const samples = state.sparks.get(name) || [];
  const from = Date.now() - SAMPLES * PERIOD;
  const most = Math.max(1, ...samples.map((sample) => sample.requests));
  const x = (sample) => Math.max(0, ((sample.at - from) / (SAMPLES * PERIOD)) * WIDE).toFixed(1);
  const y = (value) => (HIGH - 2 - (value / most) * (HIGH - 4)).toFixed(1);
  const line = (key) => runs(samples).map((run) => "M" + run.map((one) => x(one) + " " + y(one[key])).join("L")).join("");
  const area = runs(samples).map((run) => "M" + x(run[0]) + " " + HIGH + "L" + run.map((one) => x(one) + " " + y(one.requests)).join("L") + "L" + x(run[run.length - 1]) + " " + HIGH + "Z").join("");
  if (!figure.firstChild) {
    const paths = ["area", "line", "errors"].map((kind) => draw("path", { class: kind }));
    figure.append(draw("svg", { viewBox: "0 0 " + WIDE + " " + HIGH, preserveAspectRatio: "none", role: "img" }, ...paths), make("figcaption"));
  }
  const [svg, caption] = figure.children;
  const errors = samples.some((sample) => sample.failed > 0) ? line("failed") : "";
  [area, line("requests"), errors].forEach((path, at) => svg.children[at].setAttribute("d", path));
  const last = samples[samples.length - 1];
  const peak = samples.length ? Math.max(...samples.map((sample) => sample.requests)) : null;
  const worst = samples.length ? Math.max(...samples.map((sample) => sample.failed)) : null;
  const words = "10 min, peak " + rate(peak) + "/s" + (worst > 0 ? ", errors to " + rate(worst) + "/s" : "");
  svg.setAttribute("aria-label", "Requests a second: " + rate(last ? last.requests : null) + " now; " + words);
  say(caption, words);
}

/** Samples that follow each other without a gap. */
function runs(samples) {
  const found = [];
  for (const sample of samples) {
    const run = found[found.length - 1];
    if (run && sample.at - run[run.length - 1].at < 4 * PERIOD) run.push(sample);
    else found.push([sample]);
  }
  return found;
}

/** Most members whose shares are drawn. */
const DRAWN = 60;

/** What members should get, above what they have got. */
function showShares(figure, pool, parts) {
  const isKnown = parts.some((part) => part.measured !== null && part.wished !== null);
  let widest = null;
  parts.forEach((part, at) => {
    const gap = isKnown ? Math.abs((part.measured || 0) - (part.wished || 0)) : 0;
    if (!widest || gap > widest.gap) widest = { gap, at };
  });
  const isEven = widest && widest.gap < 0.005;
  let words = pool.usable ? "No requests yet to measure shares by" : "Nobody is usable";
  if (pool.usable && isKnown && isEven) words = "Shares are as wished";
  else if (pool.usable && isKnown) {
    const { measured, wished } = parts[widest.at];
    words = pool.members[widest.at].name + " has " + percent(measured) + ", wished " + percent(wished);
  }
  const key = parts.map((part) => (part.wished || 0).toFixed(3) + (part.measured || 0).toFixed(3)).join() + words;
  if (figure.shown === key) return;
  figure.shown = key;
  figure.replaceChildren();
  if (pool.members.length <= DRAWN && pool.members.length > 0) {
    const svg = draw("svg", { viewBox: "0 0 " + WIDE + " " + HIGH, preserveAspectRatio: "none", role: "img", "aria-label": "Wished shares above measured ones. " + words });
    ["wished", "measured"].forEach((kind, line) => {
      let x = 0;
      parts.forEach((part, at) => {
        const width = (part[kind] || 0) * WIDE;
        const title = draw("title", {}, pool.members[at].name + ": " + kind + " " + percent(part[kind]));
        if (width > 0.2) svg.append(draw("rect", { x: x.toFixed(2), y: 2 + line * 18, width: Math.max(0.3, width - 1).toFixed(2), height: 14, class: kind + " tone" + (at % 4) }, title));
        x += width;
      });
    });
    figure.append(svg);
  }
  figure.append(make("figcaption", {}, words));
}
