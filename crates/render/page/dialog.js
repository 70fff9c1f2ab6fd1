// SPDX-License-Identifier: Apache-2.0
// The dialog: all that is known of a member, and what can be done with it, or with several.

const DEADLINES = [["", "none"], ["5m", "in 5 min"], ["15m", "in 15 min"], ["30m", "in 30 min"], ["1h", "in 1 hour"], ["4h", "in 4 hours"], ["24h", "in 24 hours"]];
const ACTIONS = [["ready", "Enable"], ["drain", "Drain"], ["disabled", "Disable"], ["weight", "Weight"]];
const HINTS = {
  ready: "Takes new requests, as its checks allow.",
  drain: "Keeps its sessions and takes no new ones.",
  disabled: "Gets no request at all.",
  weight: "Its part of new requests, beside the weights of the others.",
};

let form = null;

function makeDialog() {
  const option = ([value, label]) => make("option", { value }, label);
  form = {
    members: [],
    title: make("h2", { id: "dialog-title" }),
    facts: make("dl", { class: "facts" }),
    action: ACTIONS.map(([value, label]) => {
      const input = make("input", { type: "radio", name: "action", value, onchange: showFields });
      return [input, make("label", {}, input, make("span", {}, label))];
    }),
    hint: make("p", { class: "hint" }),
    until: make("select", { id: "until", onchange: showFields }, DEADLINES.map(option)),
    then: make("select", { id: "then" }, [["ready", "enable it"], ["drain", "drain it"], ["disabled", "disable it"]].map(option)),
    note: make("input", { id: "note", type: "text", maxlength: "200", autocomplete: "off" }),
    weight: make("input", { id: "weight", type: "number", min: "0", max: "65535", step: "any", autocomplete: "off" }),
    configured: make("input", { id: "configured", type: "checkbox", onchange: showFields }),
    error: make("p", { class: "error", role: "alert" }),
    apply: make("button", { type: "submit", class: "primary" }, "Apply"),
  };
  const field = (input, label) => make("div", { class: "field" }, make("label", { for: input.id }, label), input);
  form.fields = {
    until: field(form.until, "Ends"),
    then: field(form.then, "Then"),
    note: field(form.note, "Note"),
    weight: field(form.weight, "Weight"),
    configured: make("div", { class: "field check" }, form.configured, make("label", { for: "configured" }, "as configured")),
  };
  const dialog = make("dialog", { id: "dialog", "aria-labelledby": "dialog-title" },
    make("form", { onsubmit: submit },
      make("div", { class: "head" }, form.title, make("button", { type: "button", class: "plain", "aria-label": "Close", onclick: () => dialog.close() }, "×")),
      make("div", { class: "body", tabindex: "0" }, form.facts),
      make("fieldset", { class: "actions" }, make("legend", { class: "hide" }, "Action"), form.action.map(([, label]) => label)),
      form.hint, ...Object.values(form.fields), form.error,
      make("div", { class: "foot" }, make("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), form.apply)));
  return dialog;
}

const picked = () => (form.action.find(([input]) => input.checked) || [{ value: "" }])[0].value;

function showFields() {
  const action = picked();
  const isHeld = action === "drain" || action === "disabled";
  form.fields.until.hidden = !isHeld;
  form.fields.then.hidden = !isHeld || !form.until.value;
  form.fields.note.hidden = !isHeld;
  form.fields.weight.hidden = action !== "weight";
  form.fields.configured.hidden = action !== "weight";
  form.weight.disabled = form.configured.checked;
  form.apply.disabled = !action;
  say(form.hint, HINTS[action] || "Choose what to do.");
  say(form.error, "");
}

function openDialog(members, action) {
  if (!members.length) return;
  const [first] = members;
  showMembers(members);
  say(form.title, members.length === 1 ? first.name + " in " + first.pool : several(members.length, "member"));
  for (const [input] of form.action) input.checked = input.value === action;
  form.until.value = "";
  form.then.value = "ready";
  form.note.value = "";
  form.configured.checked = false;
  form.weight.value = members.every((member) => member.weight === first.weight) ? first.weight : "";
  showFields();
  $("dialog").showModal();
  if (action === "weight") form.weight.select();
  else if (action) form.note.focus();
  else form.action[0][0].focus();
}

/** Shows whom an action is for, as they are seen from now on. */
function showMembers(members) {
  form.members = members;
  form.facts.replaceChildren(...(members.length === 1 ? factsOf(members[0]) : listOf(members)));
}

function listOf(members) {
  const names = members.slice(0, 12).map((member) => member.pool + "/" + member.name);
  if (members.length > 12) names.push("and " + (members.length - 12) + " more");
  return [make("dt", {}, "Members"), make("dd", {}, names.join(", "))];
}

function factsOf(member) {
  const { weights, latency, outlier, source, check } = member;
  const pairs = (object) => Object.entries(object).filter(([, value]) => value).map(([key, value]) => key + " " + (isNumber(value) ? count(value) : value)).join(", ");
  const weight = [weights.ordered + " ordered", weights.configured + " configured", weights.effective + " now"];
  if (weights.ramp < 1) weight.push("slow start at " + percent(weights.ramp));
  if (weights.agent_percent !== null) weight.push("agent says " + weights.agent_percent + " %");
  const facts = [
    ["URL", member.url],
    ["State", member.state + (member.since ? " since " + clock(member.since) : "") + (member.usable ? "" : ", not usable")],
    ["Why", member.why.map(reason).join("\n")],
    ["Until", member.until && clock(member.until) + ", then " + member.then],
    ["Note", member.note],
    ["Weight", weight.join(", ")],
    ["Part", [member.role, "tier " + member.lbset, member.zone && "zone " + member.zone, "route " + member.route].filter(Boolean).join(", ")],
    ["Attempts", pairs(member.attempts)],
    ["Answers", pairs(member.responses)],
    ["Bytes", bytes(member.sent_bytes) + " sent, " + bytes(member.received_bytes) + " received"],
    ["Latency", ["p50", "p95", "p99", "ewma"].filter((key) => latency[key] !== null).map((key) => (key === "ewma" ? "average" : key) + " " + seconds(latency[key])).join(", ")],
    ["Check", check && checkParts(check).map((part) => part[1]).join(": ") + " (" + check.row + " in a row; up after " + check.rise + ", down after " + check.fall + ")"],
    ["Outlier", outlier.failures + outlier.ejections > 0 && outlier.failures + " failures in a row, ejected " + outlier.ejections + " times" + (outlier.until ? ", until " + clock(outlier.until) : "")],
    ["Meta", pairs(member.meta || {})],
    ["From", source.kind + (source.where ? ", " + source.where : "")],
    ["Overrides", member.overrides.join(", ")],
  ];
  return facts.filter(([, text]) => text).flatMap(([label, text]) => [make("dt", {}, label), make("dd", {}, text)]);
}

/** The patch of what is filled in; null, with words, where it is nothing. */
function patchOf(action) {
  if (action === "weight") {
    if (form.configured.checked) return { weight: null };
    const weight = form.weight.valueAsNumber;
    if (weight >= 0 && weight <= 65535) return { weight };
    say(form.error, "A weight is a number from 0 to 65535.");
    return null;
  }
  const patch = { admin: action };
  if (action === "ready") return patch;
  // Says both: what an earlier order said of them does not stay.
  patch.note = form.note.value.trim() || null;
  patch.until = form.until.value || null;
  if (patch.until) patch.then = form.then.value;
  return patch;
}

async function submit(event) {
  event.preventDefault();
  const action = picked();
  const patch = action && patchOf(action);
  if (!patch || !form.members.length) return;
  form.apply.disabled = true;
  const error = await change(form.members, action, patch);
  form.apply.disabled = false;
  if (!error) return $("dialog").close();
  say(form.error, error);
  // As they are by now, so that one who has looked may repeat it.
  await refresh();
  const keys = new Set(form.members.map(keyOf));
  showMembers(everybody().filter((member) => keys.has(keyOf(member))));
}

/** An action of the bar: at once, or with a few questions. */
async function act(action) {
  const members = chosen();
  if (action !== "ready") return openDialog(members, action);
  const error = members.length ? await change(members, action, { admin: "ready" }) : null;
  if (error) tell(error, true);
}
