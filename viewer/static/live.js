// Live updates of the served pages. Pages are complete without it; it inserts only HTML from this server.
"use strict";

const PERIOD = 2000; // ms between polls of the store's version

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

const toSearch = () => location.assign("/samples#search");
prepare();
setTimeout(follow, PERIOD);
if (location.hash === "#search") document.getElementById("search")?.focus();
