// SPDX-License-Identifier: Apache-2.0
// The frame of the page, and its clock.

const $ = (id) => document.getElementById(id);
let timer = null;
let round = 0;
let isBusy = false;

function makeFrame() {
  const button = (action, label) => make("button", { type: "button", onclick: () => act(action) }, label);
  const tabs = TABS.map(([name, label]) => make("button", { type: "button", role: "tab", id: "tab-" + name, "aria-controls": "panel-" + name, onclick: () => openTab(name, true) }, label));
  const panels = TABS.map(([name]) => make("div", { role: "tabpanel", id: "panel-" + name, "aria-labelledby": "tab-" + name, hidden: true }));
  const search = make("input", { id: "search", type: "search", placeholder: "Name, state, URL, zone, note", autocomplete: "off", "aria-label": "Find members", oninput: () => (sift(), showSelection()) });
  const bar = make("div", { id: "bar", role: "toolbar", "aria-label": "Selected members", hidden: true },
    make("strong", { id: "chosen" }), button("ready", "Enable"), button("drain", "Drain…"), button("disabled", "Disable…"), button("weight", "Weight…"),
    make("button", { type: "button", class: "plain", onclick: clearSelection }, "Clear"));
  $("main").className = "";
  $("warnings").setAttribute("aria-live", "polite");
  $("main").replaceChildren($("warnings"),
    make("div", { class: "tools" }, make("div", { role: "tablist", "aria-label": "Views", onkeydown: onTabKey }, tabs),
      make("div", { id: "search-box" }, make("span", { id: "found", role: "status" }), search)),
    ...panels, bar);
  $("top").append(make("p", { id: "live", role: "status" }));
  document.body.append(make("div", { id: "toasts", role: "region", "aria-label": "Messages" }), makeDialog());
}

function showStatus() {
  const { warnings = [] } = state.status || {};
  const list = $("warnings");
  const key = JSON.stringify(warnings);
  if (list.shown === key) return;
  list.shown = key;
  list.replaceChildren(...warnings.map((warning) => make("li", { class: "warning" }, make("span", {}, warning.message),
    warning.since ? make("span", { class: "sub" }, "since " + clock(warning.since)) : null)));
  document.title = (warnings.length ? "(" + warnings.length + ") " : "") + "Balancer · " + location.host;
}

function showLive(isThere) {
  const live = $("live");
  live.className = isThere ? "live" : "lost";
  if (isThere) say(live, "Live");
  else if (!live.textContent.startsWith("No answer")) {
    say(live, (state.answer ? "No answer (" + state.answer + ")" : "No answer") + " since " + clock(Date.now()) + ". What is shown is older.");
  }
}

/** Asks for all that is shown, and shows it. */
async function poll() {
  clearTimeout(timer);
  if (document.hidden || isBusy) return;
  isBusy = true;
  try {
    const isNew = await refresh();
    const isThere = state.answer === 200 || state.answer === 304;
    if (isThere && (isNew || round % 5 === 0)) {
      const status = await ask("status");
      if (status.status === 200) state.status = status.body;
    }
    show(isThere);
    if (isThere) await refreshTab();
    round += 1;
  } finally {
    isBusy = false;
    timer = setTimeout(poll, PERIOD);
  }
}

function show(isThere) {
  showLive(isThere);
  if (!isThere) return;
  showStatus();
  showPools();
}

function refreshSoon() {
  clearTimeout(timer);
  timer = setTimeout(poll, isBusy ? 200 : 0);
}

function onKey(event) {
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && !/^(checkbox|radio)$/.test(event.target.type);
  if (event.key === "Escape" && !$("dialog").open) {
    if (event.target.id === "search" && $("search").value) {
      $("search").value = "";
      sift();
    }
    else clearSelection();
  } else if (event.key === "/" && !isTyping && !$("dialog").open) {
    openTab("pools", true);
    $("search").focus();
    event.preventDefault();
  } else if (event.key === "z" && (event.ctrlKey || event.metaKey) && !isTyping && undoable.length) {
    undoable[undoable.length - 1]();
    event.preventDefault();
  }
}

/** The page of the server stays as it is until there is something to show in its place. */
async function start() {
  const status = await ask("status");
  if (!(await refresh())) {
    timer = setTimeout(start, PERIOD);
    return;
  }
  const begin = state.answered;
  if (status.status === 200) state.status = status.body;
  makeFrame();
  openTab(location.hash.slice(1), false);
  show(true);
  round = 1;
  // Until it is on the screen.
  requestAnimationFrame(() => setTimeout(() => performance.measure("draw", { start: begin })));
  timer = setTimeout(poll, PERIOD);
  document.addEventListener("keydown", onKey);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) recall().then(poll);
  });
  recall();
}

start();
