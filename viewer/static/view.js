// Keyboard shortcuts, copy buttons and live updates. Pages are complete without it; it inserts only HTML from this server.
"use strict";

const PERIOD = 2000; // ms between polls of the store's version
const rows = () => [...document.querySelectorAll("main a.row")];
const isTyping = (element) => element.matches("input, textarea, select") || element.isContentEditable;

function step(by) {
  const link = document.querySelector(`main a[rel="${by > 0 ? "next" : "prev"}"]`);
  const all = rows();
  if (document.querySelector(".call, .critique") && link) { link.click(); return; }
  const at = all.indexOf(document.activeElement);
  if (at + by >= all.length && link && at >= 0) { link.click(); return; }
  all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + by))]?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (isTyping(event.target)) { if (event.key === "Escape") event.target.blur(); return; }
  const act = {
    j: () => step(1),
    k: () => step(-1),
    "/": () => { const search = document.getElementById("search"); if (search) search.focus(); else location.assign("/samples#search"); },
    e: () => {
      const all = [...document.querySelectorAll("main details:not(.rest)")];
      const open = !all.some((one) => one.open);
      all.forEach((one) => { one.open = open; });
    },
    "?": () => { const keys = document.getElementById("keys"); if (keys.open) keys.close(); else keys.showModal(); },
  }[event.key];
  if (act) { event.preventDefault(); act(); }
});

function prepare() {
  document.querySelectorAll("button.copy").forEach((button) => {
    button.hidden = false;
    button.onclick = async () => {
      const text = [...button.closest("h3").parentElement.querySelectorAll("h3:last-of-type ~ .text, h3:last-of-type ~ .rest .text")];
      await navigator.clipboard.writeText(text.map((one) => one.textContent).join(""));
      button.textContent = "copied";
    };
  });
}

// Replaces the live parts of the page; keeps what the reader has unfolded, focused or scrolled to.
function exchange(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.getElementById(part.id);
    if (!other || other.innerHTML === part.innerHTML) continue;
    const place = (root, one) => [...root.querySelectorAll("details")].indexOf(one);
    const open = [...part.querySelectorAll("details")].map((one) => one.open);
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const [href, spot] = focused ? [focused.getAttribute("href"), place(part, focused.closest("details"))] : [null, -1];
    part.replaceChildren(...document.adoptNode(other).childNodes);
    part.toggleAttribute("data-waiting", other.hasAttribute("data-waiting"));
    part.querySelectorAll("details").forEach((one, at) => { if (at in open) one.open = open[at]; });
    if (href) [...part.querySelectorAll("a")].find((one) => one.getAttribute("href") === href)?.focus({ preventScroll: true });
    else if (spot >= 0) part.querySelectorAll("details")[spot]?.querySelector("summary").focus({ preventScroll: true });
  }
  prepare();
}

const raw = document.getElementById("raw");
if (raw) {
  raw.checked = localStorage.getItem("raw") === "true";
  raw.addEventListener("change", () => localStorage.setItem("raw", raw.checked));
}

let seen = document.body.dataset.version;
async function follow() {
  const live = document.getElementById("live");
  const began = performance.now();
  try {
    if (!document.hidden && document.querySelector("[data-live]")) {
      const now = await (await fetch("/version")).text();
      if (now !== seen || document.querySelector("[data-waiting]")) {
        const page = await (await fetch(location.href)).text();
        exchange(new DOMParser().parseFromString(page, "text/html"));
        if (now !== seen) live.textContent = "● live";
        seen = now;
      } else live.textContent = "";
    }
  } catch { live.textContent = "the viewer has stopped"; }
  // A page that is slow to render, such as a run of 100,000 samples, is polled less often.
  setTimeout(follow, Math.max(PERIOD, 10 * (performance.now() - began)));
}

prepare();
setTimeout(follow, PERIOD);
if (location.hash === "#search") document.getElementById("search")?.focus();
