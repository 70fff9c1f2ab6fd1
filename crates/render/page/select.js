// SPDX-License-Identifier: Apache-2.0
// Choosing members: by mouse, by keyboard, one, many, all of a pool.

/** Where the last choice was made: ranges begin there. */
let anchor = null;

function choose(row, isChosen) {
  row.box.checked = isChosen;
  if (isChosen) selected.add(keyOf(row.member));
  else selected.delete(keyOf(row.member));
}

const visible = (card) => [...card.rows.values()].filter((row) => !row.hidden);

function chooseRange(card, row, isChosen) {
  const rows = visible(card);
  const [from, to] = [rows.indexOf(anchor), rows.indexOf(row)];
  if (from < 0) choose(row, isChosen);
  else rows.slice(Math.min(from, to), Math.max(from, to) + 1).forEach((one) => choose(one, isChosen));
}

function selectAll(card) {
  visible(card).forEach((row) => choose(row, card.all.checked));
  showSelection();
}

function onTableClick(event) {
  const row = event.target.closest("tbody tr");
  if (!row) return;
  if (event.target.closest(".name")) openDialog([row.member], null);
  if (event.target === row.box && event.shiftKey) chooseRange(cards.get(row.member.pool), row, row.box.checked);
}

function onTableChange(event) {
  const row = event.target.closest("tbody tr");
  if (!row) return;
  choose(row, row.box.checked);
  anchor = row;
  reach(row);
  showSelection();
}

function onTableKey(card, event) {
  const row = event.target.closest("tbody tr");
  if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
  const rows = visible(card);
  const at = rows.indexOf(row);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1, PageDown: at + 10, PageUp: at - 10 }[event.key];
  if (to !== undefined) {
    const next = rows[Math.max(0, Math.min(rows.length - 1, to))];
    const isName = event.target.classList.contains("name");
    if (event.shiftKey) {
      choose(row, true);
      choose(next, true);
      anchor = next;
      showSelection();
    }
    reach(next);
    (isName ? next.children[1].firstChild : next.box).focus();
    next.scrollIntoView({ block: "nearest" });
    event.preventDefault();
  } else if (event.key === "Enter" && event.target === row.box) {
    openDialog([row.member], null);
    event.preventDefault();
  }
}

const everybody = () => state.pools.flatMap((pool) => pool.members);

/** The members that are chosen, as the server has them now. */
const chosen = () => everybody().filter((member) => selected.has(keyOf(member)));

function showSelection() {
  for (const card of cards.values()) {
    const rows = visible(card);
    const number = rows.filter((row) => row.box.checked).length;
    card.all.checked = number > 0 && number === rows.length;
    card.all.indeterminate = number > 0 && number < rows.length;
  }
  const bar = $("bar");
  bar.hidden = selected.size === 0 || open !== "pools";
  document.body.classList.toggle("choosing", !bar.hidden);
  say($("chosen"), several(selected.size, "member") + " selected");
}

function clearSelection() {
  selected.clear();
  for (const card of cards.values()) for (const row of card.rows.values()) row.box.checked = false;
  showSelection();
}
