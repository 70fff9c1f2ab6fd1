// SPDX-License-Identifier: Apache-2.0
// Changes: each is made only if nobody else has changed the member since it was seen, and can be
// taken back for ten seconds.

const UNDO_SECONDS = 10;
const DONE = { ready: "enabled", drain: "drained", disabled: "disabled", weight: "given another weight" };

/** What of a member must not have changed behind the back of who changes it. */
const seenOf = (member) => JSON.stringify(["url", "admin", "until", "then", "note", "weight"].map((key) => member[key]));
const nameOf = (members) => (members.length === 1 ? members[0].name : several(members.length, "member"));

/**
 * Sends patches of members, [member as it was seen, patch]: one as PATCH, several as one batch.
 * Answers {members} with the new documents, or {error} in words.
 */
async function send(changes) {
  const isOne = changes.length === 1;
  const path = isOne ? memberPath(changes[0][0]) : "pools";
  const all = nameOf(changes.map(([member]) => member));
  for (let attempt = 0; attempt < 4; attempt += 1) {
    const now = await ask(path);
    if (!now.status) return { error: "The server does not answer. Nothing was changed." };
    if (now.status !== 200) return { error: trouble(now, all) };
    const documents = isOne ? [now.body] : now.body.pools.flatMap((pool) => pool.members);
    const current = new Map(documents.map((member) => [keyOf(member), member]));
    const changed = changes.find(([seen]) => !current.has(keyOf(seen)) || seenOf(current.get(keyOf(seen))) !== seenOf(seen));
    if (changed) return { error: trouble({ status: 412 }, changed[0].name) };
    const headers = { "If-Match": now.etag };
    const answer = isOne
      ? await ask(path, { method: "PATCH", body: changes[0][1], headers })
      : await ask("batch", { method: "POST", body: changes.map(([member, body]) => ({ method: "PATCH", path: "/" + API + memberPath(member), body })), headers });
    // The state of some member may have changed in between: then it is looked at once more.
    if (answer.status === 412) continue;
    if (answer.status !== 200) return { error: trouble(answer, all) };
    if (isOne) return { members: [answer.body] };
    const refused = answer.body.findIndex((one) => one.status >= 400 && one.status !== 424);
    if (refused >= 0) return { error: changes[refused][0].name + ": " + trouble(answer.body[refused], changes[refused][0].name) + " Nothing was changed." };
    return { members: answer.body.map((one) => one.body) };
  }
  return { error: trouble({ status: 412 }, all) };
}

/** The patch that makes a member what it was; null when there is none. */
function reverse(member, kind) {
  const isOrdered = (key) => member.overrides.includes(key);
  if (kind === "weight") return { weight: isOrdered("weight") ? member.weight : null };
  if (member.then === "removed") return null;
  const isOver = member.until !== null && epoch(member.until) <= Date.now() / 1000 + 1;
  const patch = { admin: isOrdered("admin") ? member.admin : null, note: member.note };
  patch.until = isOver ? null : member.until;
  if (patch.until) patch.then = member.then;
  return patch;
}

/** Makes a change, and offers to take it back. Answers an error in words, or null. */
async function change(members, kind, patch) {
  const result = await send(members.map((member) => [member, patch]));
  refreshSoon();
  if (result.error) return result.error;
  const back = members.map((member, at) => [result.members[at], reverse(member, kind)]);
  const pools = [...new Set(members.map((member) => member.pool))].join(", ");
  const text = nameOf(members) + " in " + pools + ": " + DONE[kind];
  if (back.every(([member, patch]) => member && patch)) offerUndo(text, back);
  else tell(text);
  return null;
}

function tell(text, isError) {
  const note = make("div", { class: isError ? "toast error" : "toast", role: isError ? "alert" : "status" }, make("span", {}, text));
  const close = () => note.remove();
  note.append(make("button", { type: "button", class: "plain", "aria-label": "Dismiss", onclick: close }, "×"));
  $("toasts").append(note);
  if (!isError) setTimeout(close, UNDO_SECONDS * 1000);
  return note;
}

const undoable = [];

function offerUndo(text, back) {
  const note = tell(text);
  let left = UNDO_SECONDS;
  const button = make("button", { type: "button", class: "undo" }, "Undo");
  const timer = make("span", { class: "left", "aria-hidden": "true" }, left + " s");
  note.insertBefore(timer, note.lastChild);
  note.insertBefore(button, timer);
  const over = () => {
    clearInterval(tick);
    if (undoable.includes(undo)) undoable.splice(undoable.indexOf(undo), 1);
    note.remove();
  };
  const undo = async () => {
    over();
    const result = await send(back);
    refreshSoon();
    if (result.error) tell("Not undone. " + result.error, true);
    else tell(text + ", undone");
  };
  const tick = setInterval(() => {
    left -= 1;
    say(timer, left + " s");
    if (left <= 0) over();
  }, 1000);
  button.addEventListener("click", undo);
  undoable.push(undo);
}
