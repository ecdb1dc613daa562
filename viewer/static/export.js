"use strict";
// Model text enters the page through textContent only: nothing here parses HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const page = document.getElementById("page");
const AT_ONCE = 100;
const MOST_COMPARED = 4_000_000; // cells of the table that a word diff fills
const LONG = 20_000; // characters of a text shown at first
const LONE = 3; // words
const filters = { search: "", status: "", revised_by: "", shown: AT_ONCE };
const said = (number) => (number === null ? "[redacted]" : data.texts[number] ?? "");
const joined = (numbers) => numbers.map(said).join("");

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== ""));
  return element;
}

// Chromium takes ten seconds to lay out 100,000 characters without a place to break them.
const breakable = (words) => words.split(/(\S{500})/).flatMap((part, odd) => (odd % 2 ? [part, make("wbr")] : [part]));

function text(words) {
  const block = make("div", { class: "text", dir: "auto" }, breakable(words.slice(0, LONG)));
  if (words.length > LONG) {
    const more = make("button", { type: "button" }, `show all ${words.length.toLocaleString("en")} characters`);
    more.addEventListener("click", () => block.replaceChildren(...breakable(words)));
    block.append("… ", more);
  }
  return block;
}


function table(heads, rows, label) {
  const cells = heads.map((head, i) => make("th", { scope: "col", class: i ? "number" : undefined }, head));
  const body = rows.map((row) => make("tr", {}, row.map((cell, i) => make("td", { class: i ? "number" : undefined }, typeof cell === "number" ? cell.toLocaleString("en") : cell))));
  return make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": label },
    make("table", {}, make("thead", {}, make("tr", {}, cells)), make("tbody", {}, body)));
}

// ── list ──

const lowered = new Map();
function wordsOf(sample) {
  if (!lowered.has(sample.id)) {
    const numbers = [sample.query, sample.answer, sample.refined, sample.cause, ...sample.critiques.map((c) => c.rationale)];
    const persona = Object.values(sample.persona ?? {});
    lowered.set(sample.id, [sample.id, ...persona, ...numbers.filter(Number.isInteger).map(said)].join("\n").toLowerCase());
  }
  return lowered.get(sample.id);
}

function found() {
  const wanted = filters.search.toLowerCase().split(/\s+/).filter(Boolean);
  return data.samples.filter((sample) =>
    (!filters.status || sample.status === filters.status) &&
    (!filters.revised_by || sample.critiques.some((c) => c.critic === filters.revised_by && c.verdict === "revise")) &&
    wanted.every((word) => wordsOf(sample).includes(word)));
}

function verdicts(sample) {
  return sample.critiques.map((c) => make("span", { class: c.verdict }, `${c.verdict === "pass" ? "✓" : "✎"} ${c.critic}: ${c.verdict}  `));
}

function line(sample) {
  const query = sample.query === undefined ? "(no query)" : said(sample.query).slice(0, 300);
  return make("li", {}, make("a", { href: `#${encodeURIComponent(sample.id)}` },
    make("span", {}, data.runs.length > 1 ? sample.id : sample.key, " ", make("span", { class: sample.status }, sample.status)),
    make("bdi", { class: "query" }, query),
    make("span", { class: "verdicts" }, sample.status === "failed" ? make("span", { class: "failed" }, `${sample.cause_kind ?? ""} at ${sample.failed_node ?? "?"}`) : verdicts(sample))));
}

function overview(run) {
  const counts = Object.entries(run.counts).map(([status, n]) => `${n} ${status}`).join(", ");
  const judged = Object.entries(run.verdicts).map(([critic, v]) => [critic, v.pass ?? 0, v.revise ?? 0]);
  const parts = [make("p", { class: "faint" }, `${run.kind} · ${run.status}${run.simulated ? " · simulated: a script replied, not a model" : ""} · ${run.created.slice(0, 16).replace("T", " ")} UTC · ${counts}`)];
  if (judged.length) parts.push(table(["critic", "pass", "revise"], judged, "verdicts"));
  if (run.failures.length) parts.push(table(["failure", "node", "samples"], run.failures, "failures"));
  if (run.usage.length) parts.push(table(["role", "calls", "reused", "tokens in", "cached", "tokens out", "seconds"], run.usage, "cost"));
  return make("details", {}, make("summary", {}, `run ${run.id}: ${counts}`), make("div", { class: "inside" }, parts));
}

function options(label, name, values) {
  const select = make("select", { "aria-label": label }, make("option", { value: "" }, label), values.map((v) => make("option", { value: v, selected: filters[name] === v }, v)));
  select.addEventListener("change", () => { filters[name] = select.value; filters.shown = AT_ONCE; fill(); });
  return select;
}

function list() {
  const search = make("input", { type: "search", id: "search", placeholder: "search every text  ( / )", "aria-label": "search", value: filters.search });
  search.addEventListener("input", () => { filters.search = search.value; filters.shown = AT_ONCE; fill(); });
  const critics = [...new Set(data.samples.flatMap((s) => s.critiques.map((c) => c.critic)))];
  const notes = [];
  if (data.redacted.length) notes.push(make("p", { class: "note" }, `Redacted by the author of this file: ${data.redacted.join(", ")}.`));
  if (data.left_out) notes.push(make("p", { class: "note" }, `${data.left_out} more samples did not fit into this file.`));
  page.replaceChildren(make("h1", {}, `${data.samples.length} samples`),
    make("p", { class: "faint" }, `Written ${data.written.slice(0, 10)}. Texts are the output of models, or of a script where marked simulated. They are not medical advice.`),
    ...notes, ...(data.comparison ? [make("p", {}, make("a", { href: "#=" }, `compare ${data.comparison.second} with ${data.comparison.first}`))] : []), ...data.runs.map(overview),
    make("div", { class: "filters", role: "search" }, search, options("any status", "status", [...new Set(data.samples.map((s) => s.status))]), options("revised by…", "revised_by", critics)),
    make("p", { id: "count", class: "faint", role: "status" }), make("ol", { class: "samples", id: "samples" }), make("p", { id: "more" }));
  fill();
}

function fill() {
  const matches = found();
  document.getElementById("count").textContent = `${matches.length} of ${data.samples.length}`;
  document.getElementById("samples").replaceChildren(...matches.slice(0, filters.shown).map(line));
  const more = make("button", { type: "button" }, "show more");
  more.addEventListener("click", () => { filters.shown += AT_ONCE; fill(); });
  document.getElementById("more").replaceChildren(...(matches.length > filters.shown ? [more] : []));
}

// ── trace ──

function changes(before, after) {
  const cut = (words) => words.match(/\S+\s*/g) ?? [];
  const old = cut(before), fresh = cut(after), same = (a, b) => a.trim() === b.trim();
  let start = 0, end = 0;
  while (start < old.length && start < fresh.length && same(old[start], fresh[start])) start++;
  while (end < old.length - start && end < fresh.length - start && same(old.at(-1 - end), fresh.at(-1 - end))) end++;
  const a = old.slice(start, old.length - end), b = fresh.slice(start, fresh.length - end);
  const steps = [["same", fresh.slice(0, start)]];
  const step = (kind, word) => (steps.at(-1)[0] === kind ? steps.at(-1)[1].push(word) : steps.push([kind, [word]]));
  if (a.length * b.length > MOST_COMPARED) {
    steps.push(["out", a], ["in", b]);
  } else {
    const width = b.length + 1, longest = new Uint16Array((a.length + 1) * width);
    for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--)
      longest[i * width + j] = same(a[i], b[j]) ? longest[(i + 1) * width + j + 1] + 1 : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    let i = 0, j = 0;
    while (i < a.length || j < b.length) {
      if (i < a.length && j < b.length && same(a[i], b[j])) { step("same", b[j]); i++; j++; }
      else if (j >= b.length || (i < a.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) step("out", a[i++]);
      else step("in", b[j++]);
    }
  }
  steps.push(["same", fresh.slice(fresh.length - end)]);
  // A short unchanged stretch between two changes reads better as part of them.
  const parts = [], changed = { out: [], in: [] };
  const flush = () => {
    if (/\S$/.test(parts.at(-1) ?? "") && changed.out.length + changed.in.length) parts.push(" ");
    if (changed.out.length) parts.push(make("del", {}, changed.out.join("").trimEnd()), " ");
    if (changed.in.length) parts.push(make("ins", {}, changed.in.join("").trimEnd()), " ");
    changed.out = []; changed.in = [];
  };
  steps.filter(([, words]) => words.length).forEach(([kind, words], i, all) => {
    if (kind !== "same") changed[kind].push(...words);
    else if (words.length >= LONE || i === 0 || i === all.length - 1) { flush(); parts.push(words.join("")); }
    else { changed.out.push(...words); changed.in.push(...words); }
  });
  flush();
  return parts;
}

const folded = (label, ...inside) => make("details", {}, make("summary", {}, label), make("div", { class: "inside" }, inside));
const card = (title, ...inside) => make("section", { class: "card" }, make("h2", {}, title), inside);
function thought(numberOfText) {
  if (numberOfText === undefined) return "";
  const words = said(numberOfText);
  return folded(`reasoning, ${words.split(/\s+/).length} words`, text(words));
}

function calls(sample) {
  const longest = Math.max(...sample.calls.map((c) => c.seconds), 0.001);
  return sample.calls.map((call, i) => {
    const bar = make("span", { class: "bar" });
    bar.style.width = `${(100 * call.seconds) / longest}%`;
    const [tokensIn, cached, out] = call.tokens;
    const notes = [call.outcome, call.attempt > 1 ? `attempt ${call.attempt}` : "", call.reused ? "reused" : "", call.superseded ? "superseded" : ""].filter(Boolean).join(", ");
    const label = `${i + 1}. ${call.role} · ${call.model} · ${notes} · ${tokensIn} in (${cached} cached), ${out} out · ${call.seconds.toFixed(2)} s `;
    const inside = call.messages
      ? [text(`served as ${call.served}; finish reason: ${call.finish || "none"}`), ...call.messages.map(([role, ...rope]) => [make("h3", {}, role), text(joined(rope))]).flat(),
        call.reasoning === undefined ? "" : thought(call.reasoning), make("h3", {}, "reply"), text(joined(call.reply)), folded("parameters", text(said(call.parameters)))]
      : [make("p", { class: "faint" }, "messages and reply redacted")];
    const details = folded(label, make("div", { class: "messages" }, inside));
    details.querySelector("summary").append(make("div", { class: "track", "aria-hidden": "true" }, bar));
    return details;
  });
}

function trace(sample) {
  const around = found(), at = around.indexOf(sample);
  const link = (other, words, key) => (other ? make("a", { href: `#${encodeURIComponent(other.id)}` }, words, " ", make("kbd", {}, key)) : make("span"));
  const facts = [sample.status, sample.simulated ? "simulated" : "", sample.seconds ? `${sample.seconds} s` : "", sample.rounds > 1 ? `${sample.rounds} rounds` : "", sample.score === undefined ? "" : `score ${sample.score}`].filter(Boolean);
  const parts = [make("nav", { class: "between", "aria-label": "samples" }, link(around[at - 1], "← previous", "k"), make("a", { href: "#" }, "all samples ", make("kbd", {}, "Esc")), link(around[at + 1], "next →", "j")),
    make("h1", {}, sample.id), make("p", { class: sample.status }, facts.join(" · "))];
  if (sample.cause !== undefined) parts.push(card(`failed${sample.failed_node ? ` at ${sample.failed_node}` : ""}`, make("p", { class: "cause" }, sample.cause_kind ?? ""), text(said(sample.cause))));
  if (sample.persona !== undefined) parts.push(card("persona", sample.persona === null ? text("[redacted]") : make("dl", {}, Object.entries(sample.persona).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]))));
  if (sample.history !== undefined) parts.push(card("earlier turns", ...sample.history.flatMap(([role, turn]) => [make("h3", {}, role), text(said(turn))])));
  if (sample.query !== undefined) parts.push(card("query", text(said(sample.query))));
  const beside = [];
  if (sample.answer !== undefined) beside.push(card("response", thought(sample.reasoning), text(said(sample.answer))));
  if (sample.refined !== undefined) {
    const comparable = Number.isInteger(sample.answer) && Number.isInteger(sample.refined) && said(sample.refined).length <= LONG;
    const shown = comparable ? make("div", { class: "text", dir: "auto" }, changes(said(sample.answer), said(sample.refined))) : text(said(sample.refined));
    beside.push(card("refinement, against the response", thought(sample.refined_reasoning), shown));
  }
  if (beside.length) parts.push(make("div", { class: "beside" }, beside));
  if (sample.critiques.length) parts.push(make("h2", {}, "critiques"), make("div", { class: "beside" }, sample.critiques.map((c) =>
    make("section", { class: "card" }, make("h3", { class: c.verdict }, `${c.verdict === "pass" ? "✓" : "✎"} ${c.critic}: ${c.verdict}${c.round > 1 ? `, round ${c.round}` : ""}`), text(said(c.rationale))))));
  if (sample.grades.length) parts.push(make("h2", {}, "grades"), ...sample.grades.map((g) =>
    card(`${g.met === null ? "the judge failed" : g.met ? "met" : "not met"} · ${g.points > 0 ? "+" : ""}${g.points} points${g.axis ? ` · ${g.axis}` : ""}`,
      g.criterion === undefined ? "" : text(said(g.criterion)), make("div", { class: "faint" }, text(said(g.explanation))))));
  if (sample.calls.length) parts.push(make("h2", {}, `${sample.calls.length} calls`), ...calls(sample));
  page.replaceChildren(...parts);
}

// ── compare ──

const compared = data.comparison;
const byId = new Map(data.samples.map((sample) => [sample.id, sample]));
const final = (sample) => (sample.refined === undefined ? sample.answer : sample.refined);
const chance = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(3));
const one = (value) => value.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

function pairs() {
  const ofFirst = data.samples.filter((s) => s.run === compared.first);
  const byKey = new Map(ofFirst.map((s) => [s.key, s]));
  return data.samples.filter((s) => s.run === compared.second)
    .map((s) => [byId.get(s.origin)?.run === compared.first ? byId.get(s.origin) : byKey.get(s.key), s])
    .filter(([first]) => first !== undefined);
}

function lastVerdicts(sample) {
  return new Map(sample.critiques.map((c) => [c.critic, c.verdict]));
}

function flips([first, second]) {
  const before = lastVerdicts(first), after = lastVerdicts(second);
  return [...after].filter(([critic, verdict]) => before.has(critic) && before.get(critic) !== verdict).map(([critic, verdict]) => [critic, before.get(critic), verdict]);
}

function pairLine(pair) {
  const [first, second] = pair;
  const turned = flips(pair).map(([critic, before, after]) => make("span", { class: after }, `${critic}: ${before} → ${after}  `));
  const same = final(first) === final(second) && final(first) !== undefined;
  const notes = turned.length ? turned : make("span", { class: "faint" }, same ? "the same answer" : "same verdicts");
  return make("li", {}, make("a", { href: `#=${encodeURIComponent(first.id)}=${encodeURIComponent(second.id)}` },
    make("span", {}, second.key), make("bdi", { class: "query" }, second.query === undefined ? "(no query)" : said(second.query).slice(0, 300)), make("span", { class: "verdicts" }, notes)));
}

function difference(name, d) {
  return d ? [[name, one(d.first), one(d.second), `${one(d.difference)} (${one(d.low)} to ${one(d.high)})`, chance(d.p), d.verdict, d.n]] : [];
}

function comparison() {
  const all = pairs();
  const verdictRows = Object.entries(compared.verdicts).map(([critic, v]) => [critic, v.n, v.gained, v.lost, chance(v.p), v.verdict]);
  const rows = [...difference("characters of the answer", compared.length), ...difference("tokens", compared.tokens)];
  const only = make("input", { type: "checkbox", id: "only" });
  const shown = make("ol", { class: "samples", id: "samples" });
  const fillPairs = () => {
    const wanted = only.checked ? all.filter((pair) => flips(pair).length) : all;
    wanted.sort((a, b) => flips(b).length - flips(a).length);
    shown.replaceChildren(...wanted.slice(0, 5 * AT_ONCE).map(pairLine));
    document.getElementById("count").textContent = `${wanted.length} of ${all.length} pairs`;
  };
  only.addEventListener("change", fillPairs);
  page.replaceChildren(make("h1", {}, `${compared.second} against ${compared.first}`),
    make("p", {}, `${compared.compared} samples are done in both runs: ${compared.same_query} have the same query, ${compared.same_answer} the same answer.`),
    card("what differs in the recipe", compared.changes.length ? make("ul", {}, compared.changes.map((line) => make("li", {}, line))) : text("nothing")),
    make("h2", {}, "verdicts"), table(["critic", "pairs", "revise → pass", "pass → revise", "p", "passes"], verdictRows, "verdicts"),
    ...(rows.length ? [make("h2", {}, "answers"), table(["", compared.first, compared.second, "difference (95 %)", "p", "verdict", "pairs"], rows, "answers")] : []),
    make("h2", {}, "pairs"), make("p", {}, make("label", {}, only, " only pairs whose verdicts differ")),
    make("p", { id: "count", class: "faint", role: "status" }), shown);
  fillPairs();
}

function besides(title, before, after) {
  return [make("h2", {}, title), make("div", { class: "beside" }, before, after)];
}

function pairPage(first, second) {
  const answer = (sample) => card(sample.id, thought(sample.refined_reasoning ?? sample.reasoning), text(final(sample) === undefined ? "(no answer)" : said(final(sample))));
  const critique = (sample, critic) => {
    const c = sample.critiques.findLast((each) => each.critic === critic);
    return c ? make("section", { class: "card" }, make("h3", { class: c.verdict }, `${c.verdict === "pass" ? "✓" : "✎"} ${c.verdict}`), text(said(c.rationale))) : card("not called");
  };
  const critics = [...new Set([...first.critiques, ...second.critiques].map((c) => c.critic))];
  const comparable = Number.isInteger(final(first)) && Number.isInteger(final(second)) && Math.max(said(final(first)).length, said(final(second)).length) <= LONG;
  const links = [first, second].map((s) => make("a", { href: `#${encodeURIComponent(s.id)}` }, `trace of ${s.id}`));
  page.replaceChildren(make("nav", { class: "between", "aria-label": "pair" }, links[0], make("a", { href: "#=" }, "all pairs ", make("kbd", {}, "Esc")), links[1]),
    make("h1", {}, `${second.id} against ${first.id}`),
    ...(second.query === undefined ? [] : [card("query", text(said(second.query)))]),
    ...critics.flatMap((critic) => besides(critic, critique(first, critic), critique(second, critic))),
    ...(comparable ? [card("the answer, word by word", make("div", { class: "text", dir: "auto" }, changes(said(final(first)), said(final(second)))))] : []),
    ...besides("both answers", answer(first), answer(second)));
}

// ── navigation ──

function show() {
  const [wanted, first, second] = location.hash.slice(1).split("=").map(decodeURIComponent);
  const sample = byId.get(wanted), pair = [byId.get(first), byId.get(second)];
  document.getElementById("where").textContent = sample ? sample.id : "";
  if (sample) trace(sample);
  else if (compared && pair[0] && pair[1]) pairPage(...pair);
  else if (compared && first !== undefined) comparison();
  else return list();
  scrollTo(0, 0);
  page.focus({ preventScroll: true });
}

function move(by) {
  const links = [...document.querySelectorAll("ol.samples a")];
  if (links.length) {
    const at = links.indexOf(document.activeElement);
    links[Math.min(Math.max(at + by, 0), links.length - 1)].focus();
  } else {
    document.querySelector(`nav.between a:${by < 0 ? "first" : "last"}-child[href^="#"]:not([href="#"])`)?.click();
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "Escape") { if (typing) event.target.blur(); else location.hash = location.hash.slice(2).includes("=") ? "=" : ""; return; }
  if (typing) return;
  if (event.key === "/") { event.preventDefault(); if (location.hash.length > 1) { location.hash = ""; list(); } document.getElementById("search").focus(); }
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
});
addEventListener("hashchange", show);
show();
