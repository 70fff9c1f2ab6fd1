// SPDX-License-Identifier: Apache-2.0
// The server's answers, the times of questions, and the speed of its counters.

const API = "api/v1/";
const PERIOD = 2000;
/** Samples of a spark line: ten minutes. */
const SAMPLES = 300;
const FAILURES = ["connect", "reset", "timeout", "status"];
const POOL_FAILURES = [...FAILURES, "no_member", "queue_timeout", "queue_full", "script"];

const state = { pools: [], etag: null, status: null, counts: new Map(), history: [], sparks: new Map() };

/** One request. Answers {status, etag, retry, body}; status 0: no answer. */
async function ask(path, options = {}) {
  const { method = "GET", body, headers = {} } = options;
  const init = { method, headers: { Accept: "application/json", ...headers }, cache: "no-store" };
  init.signal = AbortSignal.timeout(15000);
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers["Content-Type"] = "application/json";
  }
  try {
    const answer = await fetch(API + path, init);
    const text = answer.status === 304 ? "" : await answer.text();
    const type = answer.headers.get("Content-Type") || "";
    state.answered = performance.now();
    return {
      status: answer.status,
      etag: answer.headers.get("ETag"),
      retry: answer.headers.get("Retry-After"),
      body: text && type.includes("json") ? JSON.parse(text) : null,
    };
  } catch (error) {
    return { status: 0 };
  }
}

const memberPath = (member) =>
  "pools/" + encodeURIComponent(member.pool) + "/members/" + encodeURIComponent(member.name);
// No name holds a slash.
const keyOf = (member) => member.pool + "/" + member.name;
const requestsOf = (member) => sum(member.attempts, ["ok", "aborted", ...FAILURES]);

/** Asks for the pools. True when they are new. */
async function refresh() {
  const answer = await ask("pools", { headers: state.etag ? { "If-None-Match": state.etag } : {} });
  // A page in its place, such as one to sign in at, is no answer.
  state.answer = answer.body || answer.status !== 200 ? answer.status : 0;
  if (answer.status === 200 && answer.body && Array.isArray(answer.body.pools)) {
    state.pools = answer.body.pools;
    state.etag = answer.etag;
    state.counts = new Map();
    for (const pool of state.pools) {
      const failed = sum(pool.requests, POOL_FAILURES);
      const all = failed + sum(pool.requests, ["ok", "aborted"]);
      state.counts.set(pool.name, { all, failed, attempts: pool.members.reduce((n, one) => n + requestsOf(one), 0) });
      for (const member of pool.members) state.counts.set(keyOf(member), { all: requestsOf(member), failed: 0 });
    }
  } else if (answer.status !== 304) return false;
  note();
  return answer.status === 200;
}

/** Keeps the counters of a minute, and a sample of each pool. */
function note() {
  const at = performance.now();
  state.history.push({ at, counts: state.counts });
  while (state.history.length > 2 && at - state.history[1].at > 60000) state.history.shift();
  for (const pool of state.pools) {
    const moved = movement(pool.name, 1);
    if (!moved) continue;
    const samples = state.sparks.get(pool.name) || [];
    samples.push({ at: Date.now(), requests: moved.all / moved.seconds, failed: moved.failed / moved.seconds });
    if (samples.length > SAMPLES) samples.shift();
    state.sparks.set(pool.name, samples);
  }
}

/** Takes the server's own samples of the time before this page was open; where it has any. */
async function recall() {
  for (const pool of state.pools) {
    if (state.forgets) return;
    const answer = await ask("pools/" + encodeURIComponent(pool.name) + "/history");
    state.forgets = answer.status === 404;
    const samples = (answer.body && answer.body.recent && answer.body.recent.samples) || [];
    if (!samples.length) continue;
    // By this browser's clock.
    const late = Date.now() - Date.parse(samples[samples.length - 1].at);
    const shift = Math.abs(late) > 5 * PERIOD ? late : 0;
    const old = samples.map((one) => ({ at: Date.parse(one.at) + shift, requests: one.requests / one.seconds, failed: one.errors / one.seconds }));
    const own = (state.sparks.get(pool.name) || []).filter((one) => one.at > old[old.length - 1].at);
    state.sparks.set(pool.name, [...old, ...own].slice(-SAMPLES));
  }
}

/** How far a counter has moved over the last `samples`; null when that is not known. */
function movement(key, samples) {
  const last = state.history.length - 1;
  for (let at = Math.max(0, last - samples); at < last; at += 1) {
    const [before, now] = [state.history[at], state.history[last]];
    const [old, own] = [before.counts.get(key), now.counts.get(key)];
    if (!old || !own || own.all < old.all) continue;
    return {
      all: own.all - old.all,
      failed: Math.max(0, own.failed - old.failed),
      attempts: (own.attempts || 0) - (old.attempts || 0),
      seconds: (now.at - before.at) / 1000,
    };
  }
  return null;
}

/** Requests a second over the last ten seconds. */
function speed(key, what = "all") {
  const moved = movement(key, 5);
  return moved && moved.seconds > 0 ? moved[what] / moved.seconds : null;
}

/** What part of its pool's requests a member should get, and has got in the last minute or ever. */
function shares(pool) {
  const wanted = pool.members.map((member) => (member.usable ? member.weights.effective : 0));
  const total = wanted.reduce((a, b) => a + b, 0);
  const all = movement(pool.name, 30);
  const isRecent = all !== null && all.attempts > 0;
  const ever = (state.counts.get(pool.name) || {}).attempts || 0;
  return pool.members.map((member, at) => {
    const moved = isRecent ? movement(keyOf(member), 30) : null;
    let measured = null;
    if (isRecent) measured = moved ? moved.all / all.attempts : null;
    else if (ever > 0) measured = requestsOf(member) / ever;
    return { wished: total > 0 ? wanted[at] / total : null, measured, isRecent };
  });
}

/** An answer that cannot be used, in words. */
function trouble(answer, name) {
  const detail = (answer.body && answer.body.detail) || "The server answered " + answer.status + ".";
  switch (answer.status) {
    case 0: return "The server did not answer, so it is not known what became of the change. Look before you repeat it.";
    case 401: return "You are not signed in here any more. Load the page again.";
    case 412: return "Somebody has changed " + name + " meanwhile. Look at it again, then repeat your change.";
    case 429: return "Too many changes at once. Try again in " + (answer.retry || "1") + " s. (" + detail + ")";
    default: return ({ 403: "Not allowed: ", 404: "Not there any more: ", 409: "In conflict: " }[answer.status] || "") + detail;
  }
}
