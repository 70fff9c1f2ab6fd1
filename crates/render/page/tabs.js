// SPDX-License-Identifier: Apache-2.0
// The other tabs: lists, as the server has them. One that it does not have costs nothing.

/** Name, label, and the keys that come first. */
const TABS = [
  ["pools", "Pools", []],
  ["scripts", "Scripts", ["name", "verdict", "version", "calls", "seconds", "last_error"]],
  ["decisions", "Decisions", ["at", "pool", "member", "reason", "method", "path", "status", "seconds"]],
  ["events", "Events", ["at", "kind", "message", "pool", "member", "by", "from", "note"]],
  ["discovery", "Discovery", ["pool", "source", "state"]],
  ["dicts", "Dictionaries", ["name", "size", "free"]],
  ["children", "Children", ["pid", "generation", "leads"]],
];
/** Most rows of a list that are shown: the newest. */
const MOST_ROWS = 500;
const lists = new Map(TABS.map(([name]) => [name, { rows: [], next: null, missing: false }]));
let open = "pools";

async function refreshTab() {
  const list = lists.get(open);
  const name = open;
  if (name === "pools" || list.missing) return;
  const isEvents = name === "events";
  const answer = await ask(name + (isEvents && list.next !== null ? "?since=" + list.next : ""));
  list.missing = answer.status === 404;
  const rows = answer.body && Object.values(answer.body).find(Array.isArray);
  if (answer.status === 200 && rows) {
    list.rows = isEvents && list.next !== null ? list.rows.concat(rows) : rows;
    list.rows = list.rows.slice(-MOST_ROWS);
    if (isEvents && isNumber(answer.body.next)) list.next = answer.body.next;
    list.error = null;
  } else list.error = list.missing ? "This server does not have that." : trouble(answer, name);
  if (name === open) showTab(name);
}

function showTab(name) {
  const [, label, first] = TABS.find(([known]) => known === name);
  const { rows, error } = lists.get(name);
  const panel = $("panel-" + name);
  const isTimed = name === "events" || name === "decisions";
  const shown = isTimed ? [...rows].reverse() : rows;
  const key = error + JSON.stringify(shown);
  if (panel.shown === key) return;
  panel.shown = key;
  if (error || !shown.length) return panel.replaceChildren(make("p", { class: "empty" }, error || "Nothing yet."));
  const known = new Set(shown.flatMap((row) => Object.keys(row)));
  const columns = [...first.filter((column) => known.has(column)), ...[...known].filter((column) => !first.includes(column) && column !== "seq")];
  const used = columns.filter((column) => shown.some((row) => row[column] !== null && row[column] !== undefined));
  const isFigure = (column) => shown.every((row) => !row[column] || isNumber(row[column]));
  const head = make("tr", {}, used.map((column) => make("th", { scope: "col", class: isFigure(column) ? "figure" : null }, column.replace(/_/g, " "))));
  const cell = (row, column) => {
    const text = valueOf(column, row[column]);
    return make("td", { class: isFigure(column) ? "figure" : text.length > 30 ? "text" : null, title: column === "at" ? row.at : null }, text);
  };
  const body = shown.map((row) => make("tr", { class: row.last_error || row.held || row.verdict === "refused" ? "wrong" : null }, used.map((column) => cell(row, column))));
  panel.replaceChildren(make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    make("table", { class: "list" }, make("thead", {}, head), make("tbody", {}, body))));
}

/** A value of a list as text. */
function valueOf(key, value) {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (isNumber(value)) {
    if (key === "seconds") return seconds(value);
    if (key === "size" || key === "free" || key.endsWith("bytes")) return bytes(value);
    return String(value);
  }
  if (typeof value === "string") return /^\d{4}-\d\d-\d\dT/.test(value) ? clock(value) : value;
  if (Array.isArray(value)) return value.map((one) => valueOf("", one)).join(", ");
  const pairs = Object.entries(value).filter(([, one]) => one !== 0 && one !== null && one.length !== 0);
  return pairs.map(([name, one]) => name.replace(/_/g, " ") + " " + valueOf(name, one)).join(", ") || "–";
}

function openTab(name, isAsked) {
  open = TABS.some(([known]) => known === name) ? name : "pools";
  // A tab that is opened once more is asked for once more.
  lists.get(open).missing = false;
  for (const [known] of TABS) {
    const [tab, panel] = [$("tab-" + known), $("panel-" + known)];
    tab.setAttribute("aria-selected", String(known === open));
    tab.tabIndex = known === open ? 0 : -1;
    panel.hidden = known !== open;
  }
  $("search-box").hidden = open !== "pools";
  showSelection();
  if (isAsked) history.replaceState(null, "", open === "pools" ? location.pathname + location.search : "#" + open);
  refreshTab();
}

function onTabKey(event) {
  const names = TABS.map(([name]) => name);
  const at = names.indexOf(open);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
  if (to === undefined) return;
  openTab(names[(to + names.length) % names.length], true);
  $("tab-" + open).focus();
  event.preventDefault();
}
