// SPDX-License-Identifier: Apache-2.0
// Elements, numbers and times. Texts become text nodes and attributes, never markup.

/** An element with attributes, listeners (keys that begin with `on`) and children. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Replaces a text, and touches nothing when it is the same. */
function say(element, text) {
  const node = element.firstChild;
  if (node && node === element.lastChild && node.nodeType === 3) {
    if (node.data !== text) node.data = text;
  } else element.textContent = text;
}

/** Replaces what an element holds by parts: a text, or [class, text, title]. */
function fill(element, parts) {
  const key = parts.map(String).join("\u0002");
  if (element.shown === key) return;
  element.shown = key;
  element.textContent = "";
  for (const part of parts) {
    if (!part) continue;
    if (typeof part === "string") element.append(part);
    else {
      const span = document.createElement("span");
      span.className = part[0];
      span.textContent = part[1];
      if (part[2]) span.title = part[2];
      element.append(span);
    }
  }
}

const isNumber = (value) => typeof value === "number" && isFinite(value);

/** 0, 7, 950, 1.2k, 34k, 5.6M. */
function count(number) {
  if (!isNumber(number)) return "–";
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (number >= size) {
      const part = number / size;
      return (part < 10 ? part.toFixed(1) : Math.floor(part)) + unit;
    }
  }
  return String(Math.round(number));
}

/** A rate a second. */
function rate(number) {
  if (!isNumber(number)) return "–";
  return number > 0 && number < 10 ? number.toFixed(1) : count(number);
}

function bytes(number) {
  if (!isNumber(number)) return "–";
  for (const [size, unit] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (number >= size) return (number / size).toFixed(number / size < 10 ? 1 : 0) + " " + unit;
  }
  return number + " B";
}

/** Seconds, as an answer takes them. */
function seconds(number) {
  if (!isNumber(number)) return "–";
  const ms = number * 1000;
  if (ms < 1) return (ms < 0.1 ? ms.toFixed(2) : ms.toFixed(1)) + " ms";
  if (ms < 1000) return (ms < 10 ? ms.toFixed(1) : Math.round(ms)) + " ms";
  return (number < 10 ? number.toFixed(1) : Math.round(number)) + " s";
}

/** Three times with one unit, where they have the same. */
function triple(...times) {
  const texts = times.map(seconds);
  const unit = texts[2].slice(-3);
  return texts.map((text, at) => (at < 2 && text.endsWith(unit) ? text.slice(0, -unit.length) : text)).join(" · ");
}

function percent(part) {
  if (!isNumber(part)) return "–";
  if (part > 0 && part < 0.0005) return "<0.1 %";
  return (part > 0 && part < 0.1 ? (part * 100).toFixed(1) : Math.round(part * 100)) + " %";
}

/** A span of time in one word. */
function span(length) {
  const whole = Math.max(0, Math.round(length));
  if (whole < 60) return whole + " s";
  if (whole < 3600) return Math.floor(whole / 60) + " min";
  if (whole < 172800) return Math.floor(whole / 3600) + " h";
  return Math.floor(whole / 86400) + " d";
}

const epoch = (time) => Date.parse(time) / 1000;

/** How long ago something was, by this browser's clock. */
const ago = (time) => (time ? span(Date.now() / 1000 - epoch(time)) : "");

/** A time of today as a time, another one with its date. */
function clock(time) {
  if (!time) return "–";
  const at = new Date(time);
  if (isNaN(at)) return String(time);
  const isToday = at.toDateString() === new Date().toDateString();
  const hours = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return isToday ? hours : at.toLocaleDateString() + " " + hours;
}

const sum = (object, keys) => keys.reduce((total, key) => total + (object[key] || 0), 0);

/** `3 members`, `1 member`. */
const several = (number, word) => number + " " + word + (number === 1 ? "" : "s");
