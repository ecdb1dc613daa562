// The pages of an exported file: each waits in a template, and is shown in the place of the list.
const main = document.getElementById("page");
const list = [...main.childNodes];
const lines = [...main.querySelectorAll("ol.samples > li")];
const waiting = new Map([...document.querySelectorAll("template")].map((one) => [one.dataset.page, one]));
const [search, byStatus, byCritic] = ["search", "status", "revised"].map((id) => document.getElementById(id));
const title = document.title;
const texts = new Map();

function here() {
  try { return decodeURIComponent(location.hash.slice(2)); } catch { return ""; }
}

function show() {
  const page = location.hash.startsWith("#/") ? waiting.get(here()) : undefined;
  main.replaceChildren(...(page ? [...walk(page.dataset.page), page.content.cloneNode(true)] : list));
  document.getElementById("where").textContent = page ? page.dataset.title : "";
  document.title = page ? `${page.dataset.title} · ${title}` : title;
  prepare();
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
}

// Links to the samples before and after one, among those that the list shows.
function walk(page) {
  const shown = lines.filter((line) => !line.hidden).map((line) => line.querySelector("a"));
  const at = shown.findIndex((link) => link.hash === location.hash);
  if (at < 0) return [];
  const nav = Object.assign(document.createElement("nav"), { className: "between", ariaLabel: "Samples" });
  for (const [rel, other] of [["prev", shown[at - 1]], ["next", shown[at + 1]]]) {
    const link = document.createElement(other ? "a" : "span");
    if (other) {
      const key = other.querySelector("span").textContent;
      Object.assign(link, { rel, href: other.hash, textContent: rel === "prev" ? `‹ ${key}` : `${key} ›` });
    }
    nav.append(link);
  }
  return [nav];
}

function textOf(line) {
  const address = decodeURIComponent(line.querySelector("a").hash.slice(2));
  if (!texts.has(address)) texts.set(address, `${address} ${waiting.get(address).content.textContent}`.toLowerCase());
  return texts.get(address);
}

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const line of lines) {
    const { status, revised } = line.dataset;
    line.hidden = !((!byStatus.value || status === byStatus.value) && (!byCritic.value || revised.split(" ").includes(byCritic.value))
      && words.every((word) => textOf(line).includes(word)));
  }
  const count = lines.filter((line) => !line.hidden).length;
  document.getElementById("count").textContent = `${count.toLocaleString("en")} of ${lines.length.toLocaleString("en")}`;
}

function toSearch() {
  location.hash = "#/";
  show();
  search.focus();
}

// A link inside a page scrolls, and leaves the address at the page.
main.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]:not([href^="#/"])');
  if (!link) return;
  event.preventDefault();
  document.getElementById(link.hash.slice(1))?.scrollIntoView();
});
[search, byStatus, byCritic].forEach((one) => one.addEventListener("input", filter));
addEventListener("hashchange", show);
filter();
show();
