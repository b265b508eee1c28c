"use strict";
// Keeps a page true without a reload: asks for the same address again and changes only what differs.

const EVERY_MS = 1500;
const LOG_KEPT = 500_000; // characters on the page; the whole log is one link away
const THIN = "\u202f";
const main = document.querySelector("main");
const banner = document.querySelector("#connection");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const visible = () => new Promise((done) => {
  if (!document.hidden) return done();
  document.addEventListener("visibilitychange", done, { once: true });
});

function say(trouble) {
  banner.hidden = !trouble;
  if (banner.textContent !== trouble) banner.textContent = trouble;
}

/** Makes `old` like `fresh` in place, so that focus, selection, scroll and open details stay. */
function morph(old, fresh) {
  if (old.isEqualNode(fresh) || old.dataset?.keep !== undefined) return;
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) return void (old.nodeValue = fresh.nodeValue);
  for (const { name } of [...old.attributes])
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of fresh.attributes)
    if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
  const named = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const known = child.id && named.get(child.id);
    if (known && known !== at) old.insertBefore(known, at);
    const mine = known || (at && !at.id && !child.id ? at : null);
    if (mine === at && at) at = at.nextSibling;
    if (mine) morph(mine, child);
    else old.insertBefore(child, at);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

async function follow() {
  let tag = "";
  for (;;) {
    await pause(EVERY_MS);
    await visible();
    const began = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { "If-None-Match": tag }, cache: "no-store" });
      if (answer.ok && main.dataset.live === "reload") location.reload(); // an error that is over
      else if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        morph(main, page.querySelector("main"));
        document.title = page.title;
        tag = answer.headers.get("ETag") ?? "";
      }
      say(answer.ok || answer.status === 304 ? "" : `The server answers ${answer.status}; what you see may be old.`);
    } catch {
      say("No connection to the server; what you see may be old. Trying again.");
    }
    await pause(4 * (performance.now() - began)); // a heavy page asks less often
  }
}

/** The same rule as formats.distance. */
function distance(seconds) {
  const away = Math.floor(Math.abs(seconds));
  let text = `${away}${THIN}s`;
  for (const [unit, length, least] of [["d", 86400, 172800], ["h", 3600, 7200], ["min", 60, 60]])
    if (away >= least) {
      text = `${Math.floor(away / length)}${THIN}${unit}`;
      break;
    }
  return seconds >= 0 ? `${text} ago` : `in ${text}`;
}

function tick() {
  for (const time of document.querySelectorAll("time")) {
    const text = distance((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

async function tail(log) {
  for (let start = 0, last = false; ; await pause(EVERY_MS)) {
    try {
      const over = document.querySelector("[data-over]") !== null;
      const answer = await fetch(`${log.dataset.log}?start=${start}`, { cache: "no-store" });
      const text = answer.ok ? await answer.text() : "";
      if (text) {
        const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
        log.textContent = (log.textContent + text).slice(-LOG_KEPT);
        if (atEnd) log.scrollTop = log.scrollHeight;
      }
      start = Number(answer.headers.get("Log-Next") ?? start);
      log.dataset.state = start === 0 ? "empty" : "filled";
      if (last) return;
      last = over && answer.ok; // one look more: the end of a log may come with the last report
    } catch { /* follow() shows that the connection is gone */ }
    await visible();
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const line = button.previousElementSibling;
  getSelection().selectAllChildren(line); // where the clipboard is closed to pages (plain http), Ctrl-C is left to do
  await navigator.clipboard?.writeText(line.textContent);
  button.textContent = navigator.clipboard ? "copied" : "press Ctrl-C";
  setTimeout(() => (button.textContent = "copy"), 1500);
});

document.addEventListener("change", (event) => event.target.closest("form[data-filter]")?.requestSubmit());
document.addEventListener("formdata", ({ formData }) => {
  for (const [name, value] of [...formData]) if (value === "") formData.delete(name); // short addresses
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  document.querySelector("#search").focus();
});

setInterval(tick, 1000);
if (main.dataset.live !== undefined) follow();
for (const log of document.querySelectorAll("[data-log]")) tail(log);
