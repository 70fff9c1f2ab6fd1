// SPDX-License-Identifier: Apache-2.0
// Cards of pools, and their tables of members. A poll changes only what has changed.

/** Rows of one table part, which a browser draws only when it is in view. */
const CHUNK = 40;
const COLUMNS = [
  ["member", "Member"], ["condition", "State"], ["weight", "Weight"], ["flight", "In flight"],
  ["rate", "Requests/s"], ["share", "Share"], ["latency", "p50 · p95 · p99"], ["answers", "Answers"],
  ["failures", "Failures"], ["check", "Last check"],
];
const STATS = ["In flight", "Queued", "Requests/s", "Errors/s", "p50", "p95", "p99"];

/** By a pool's name: its elements, and its rows by member. */
const cards = new Map();
const selected = new Set();
const template = rowTemplate();

function rowTemplate() {
  const box = make("input", { type: "checkbox", tabindex: "-1" });
  const row = make("tr", { role: "row" }, make("td", { role: "cell", class: "pick" }, box));
  for (const [name, label] of COLUMNS) {
    const cell = make(name === "member" ? "th" : "td", {
      role: name === "member" ? "rowheader" : "cell",
      scope: name === "member" ? "row" : null,
      class: name,
      "data-label": label,
    });
    if (name === "member") cell.append(make("button", { type: "button", class: "name", tabindex: "-1" }), make("span", { class: "sub" }));
    row.append(cell);
  }
  return row;
}

function makeRow(member) {
  const row = template.cloneNode(true);
  const [box, name] = [row.firstChild.firstChild, row.children[1].firstChild];
  row.id = "m:" + keyOf(member);
  row.member = member;
  row.box = box;
  box.checked = selected.has(keyOf(member));
  box.setAttribute("aria-label", "Select " + member.name);
  name.textContent = member.name;
  return row;
}

function showRow(row) {
  const { member, share, children: cells } = row;
  const url = cells[1].lastChild;
  say(url, member.zone ? member.url + " · " + member.zone : member.url);
  fill(cells[2], stateParts(member));
  fill(cells[3], weightParts(member));
  fill(cells[4], [String(member.inflight), member.max_inflight ? ["sub", "of " + member.max_inflight] : null]);
  fill(cells[5], [rate(speed(keyOf(member)))]);
  fill(cells[6], [percent(share.measured), share.wished > 0 ? ["sub", "of " + percent(share.wished)] : null]);
  const { p50, p95, p99, ewma } = member.latency;
  fill(cells[7], p50 === null ? [seconds(ewma), ewma === null ? null : ["sub", "average"]] : [triple(p50, p95, p99)]);
  fill(cells[8], answerParts(member.responses));
  fill(cells[9], failureParts(member.attempts));
  fill(cells[10], checkParts(member));
  row.classList.toggle("off", !member.usable);
}

/** What a reason says, with who gave it. A note from right to left turns nothing else round. */
function reason(why) {
  const from = why.by ? " by " + why.by + (why.from ? " (" + why.from + ")" : "") : "";
  return why.flag + from + (why.until ? " until " + clock(why.until) : "") + (why.note ? ": \u2068" + why.note + "\u2069" : "");
}

function stateParts(member) {
  const why = member.why.map(reason).join("; ");
  const since = member.since ? ago(member.since) : "";
  const words = [since, why].filter(Boolean).join(" · ");
  return [["state " + member.state, member.state], words ? ["sub", words, words] : null];
}

function weightParts(member) {
  const { ordered, configured, effective } = member.weights;
  const notes = [];
  if (ordered !== configured) notes.push("configured " + configured);
  if (effective !== ordered) notes.push("now " + effective);
  if (member.role !== "active") notes.push(member.role);
  if (member.lbset) notes.push("tier " + member.lbset);
  return [String(ordered), notes.length ? ["sub", notes.join(", ")] : null];
}

function answerParts(responses) {
  const parts = Object.entries(responses).filter(([, number]) => number > 0);
  if (!parts.length) return ["–"];
  return parts.map(([kind, number]) => [kind === "5xx" ? "pair bad" : "pair", kind + " " + count(number)]);
}

function failureParts(attempts) {
  const parts = [...FAILURES, "aborted"].filter((key) => attempts[key] > 0);
  if (!parts.length) return ["–"];
  return parts.map((key) => [key === "aborted" ? "pair" : "pair bad", key + " " + count(attempts[key])]);
}

function checkParts({ check, opinions }) {
  if (!check) return ["–"];
  if (check.ok === null) return [["pair", check.type + ": none yet"]];
  const sub = [check.detail, check.seconds && seconds(check.seconds), check.at && ago(check.at) + " ago"]
    .filter(Boolean).join(", ") || check.row + " in a row";
  const word = check.ok ? "passed" : "failed";
  return [
    [word, check.type + " " + word], ["sub", sub, sub],
    ...(opinions || []).map((one) => ["sub", one.front + " " + one.state]),
  ];
}

function makeCard(pool) {
  const id = "pool:" + pool.name;
  const card = { rows: new Map(), order: "", stats: {}, name: pool.name };
  card.usable = make("p", { class: "usable" });
  card.method = make("span", { class: "tag" });
  card.spark = make("figure", { class: "spark" });
  card.share = make("figure", { class: "shares" });
  const stats = STATS.map((label) => {
    card.stats[label] = make("dd", {}, "–");
    return make("div", {}, make("dt", {}, label), card.stats[label]);
  });
  card.all = make("input", { type: "checkbox", "aria-label": "Select all members of " + pool.name });
  const heads = COLUMNS.map(([name, label]) => make("th", { role: "columnheader", scope: "col", class: name }, label));
  const head = make("tr", { role: "row" }, make("td", { role: "cell", class: "pick" }, card.all), heads);
  card.table = make("table", { role: "table", "aria-labelledby": id }, make("thead", { role: "rowgroup" }, head));
  card.empty = make("p", { class: "empty", hidden: true }, "No members.");
  card.root = make("section", { class: "pool", "aria-labelledby": id },
    make("header", { class: "card" },
      make("div", { class: "title" }, make("h2", { id }, pool.name), card.method, card.usable),
      make("dl", { class: "stats" }, stats),
      make("div", { class: "pictures" }, card.spark, card.share)),
    card.table, card.empty);
  card.all.addEventListener("change", () => selectAll(card));
  card.table.addEventListener("click", onTableClick);
  card.table.addEventListener("change", onTableChange);
  card.table.addEventListener("keydown", (event) => onTableKey(card, event));
  return card;
}

function showCard(card, pool) {
  say(card.method, pool.method);
  const level = pool.usable === 0 ? "bad" : pool.usable < pool.total || pool.panic ? "some" : "good";
  fill(card.usable, [["level " + level, pool.usable + " of " + pool.total + " usable" + (pool.panic ? ", panic: health is ignored" : "")]]);
  const failing = speed(pool.name, "failed");
  const { p50, p95, p99 } = pool.latency;
  const values = [count(pool.inflight), count(pool.queued), rate(speed(pool.name)), rate(failing), ...[p50, p95, p99].map(seconds)];
  STATS.forEach((label, at) => say(card.stats[label], values[at]));
  card.stats["Errors/s"].classList.toggle("bad", failing > 0);
  card.stats.Queued.classList.toggle("bad", pool.queued > 0);
  const parts = shares(pool);
  showSpark(card.spark, pool.name);
  showShares(card.share, pool, parts);
  const order = pool.members.map((member) => member.name + "\n" + member.url).join("\n");
  if (order !== card.order) arrange(card, pool);
  card.order = order;
  pool.members.forEach((member, at) => {
    const row = card.rows.get(member.name);
    row.member = member;
    row.share = parts[at];
    if (row.parentNode.isNear) showRow(row);
    else later.push(row);
  });
  card.empty.hidden = pool.members.length > 0;
  card.table.hidden = pool.members.length === 0;
}

/** Puts the rows in order, with those of new members and without those that are gone. */
function arrange(card, pool) {
  const old = card.rows;
  const focus = document.activeElement;
  card.rows = new Map(pool.members.map((member) => [member.name, old.get(member.name) || makeRow(member)]));
  for (const name of old.keys()) if (!card.rows.has(name)) selected.delete(card.name + "/" + name);
  const rows = [...card.rows.values()];
  const chunks = [];
  for (const body of card.table.tBodies) nearness.unobserve(body);
  for (let at = 0; at < rows.length; at += CHUNK) {
    const body = make("tbody", { role: "rowgroup" }, rows.slice(at, at + CHUNK));
    // Until a browser has told.
    body.isNear = at < 2 * CHUNK;
    nearness.observe(body);
    chunks.push(body);
  }
  card.table.classList.toggle("long", rows.length > 2 * CHUNK);
  card.table.replaceChildren(card.table.tHead, ...chunks);
  if (rows.length && !rows.some((row) => row.box.tabIndex === 0)) reach(rows[0]);
  if (focus && focus.isConnected && focus !== document.activeElement) focus.focus({ preventScroll: true });
}

/** Tells which parts of tables are in view, or nearly: those are drawn at once, others soon. */
const nearness = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    target.isNear = isIntersecting;
    if (isIntersecting) [...target.rows].forEach(showRow);
  }
}, { rootMargin: "800px" });

let later = [];
let isLater = false;

/** Draws what is not in view, while there is nothing else to do. */
function drawLater(deadline) {
  isLater = false;
  for (let number = 0; later.length && (number < 10 || deadline.timeRemaining() > 2); number += 1) {
    const row = later.pop();
    if (row.isConnected) showRow(row);
  }
  askLater();
}

function askLater() {
  if (isLater || !later.length) return;
  isLater = true;
  if (window.requestIdleCallback) requestIdleCallback(drawLater, { timeout: 1000 });
  else setTimeout(drawLater, 50, { timeRemaining: () => 0 });
}

/** Makes a row the one of its table that the Tab key reaches. */
function reach(row) {
  for (const one of row.closest("table").querySelectorAll("[tabindex='0']")) one.tabIndex = -1;
  row.box.tabIndex = 0;
  row.children[1].firstChild.tabIndex = 0;
}

/** All cards, in the order of the pools. */
function showPools() {
  const panel = $("panel-pools");
  const wanted = [];
  later = [];
  for (const pool of state.pools) {
    if (!cards.has(pool.name)) cards.set(pool.name, makeCard(pool));
    const card = cards.get(pool.name);
    showCard(card, pool);
    wanted.push(card.root);
  }
  for (const name of [...cards.keys()]) {
    if (state.pools.some((pool) => pool.name === name)) continue;
    cards.delete(name);
    for (const key of [...selected]) if (key.startsWith(name + "/")) selected.delete(key);
  }
  if (!wanted.length) wanted.push($("no-pools") || make("p", { class: "empty", id: "no-pools" }, "No pools yet. LuaBalancerPool defines one."));
  const have = [...panel.children];
  if (have.length !== wanted.length || have.some((child, at) => child !== wanted[at])) panel.replaceChildren(...wanted);
  later.reverse();
  askLater();
  sift();
  showSelection();
}

/** Hides the members that the search does not find. */
function sift() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const card of cards.values()) {
    for (const body of card.table.tBodies) {
      let shown = 0;
      for (const row of body.rows) {
        const isFound = !words.length || words.every((word) => textOf(row.member).includes(word));
        if (row.hidden === isFound) row.hidden = !isFound;
        if (isFound) shown += 1;
      }
      if (body.hidden !== (shown === 0)) body.hidden = shown === 0;
      if (body.count !== shown) body.style.setProperty("--rows", (body.count = shown));
      found += shown;
    }
  }
  say($("found"), words.length ? several(found, "member") + " found" : "");
}

const textOf = (member) =>
  [member.pool, member.name, member.url, member.state, member.zone, member.role, ...member.why.map(reason),
    ...Object.entries(member.meta || {}).map((pair) => pair.join("="))].join(" ").toLowerCase();
