// Keyboard shortcuts, copy buttons and the raw switch of all pages, served or in an exported file.
"use strict";

const rows = () => [...document.querySelectorAll("main a.row")].filter((row) => !row.closest("[hidden]"));
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
    "/": () => { const search = document.getElementById("search"); if (search) search.focus(); else toSearch(); },
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
  const raw = document.getElementById("raw");
  if (raw) {
    raw.checked = localStorage.getItem("raw") === "true";
    raw.onchange = () => localStorage.setItem("raw", raw.checked);
  }
}
