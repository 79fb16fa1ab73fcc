// ---- single questions: state lives in the address (#kind=...&verdict=...), so that a view can be linked ----

const PAGE = 20;
const { items, questions, contexts, conditions, kinds, verdicts, marks } = data.explorer;
const form = document.getElementById("filters");
const list = document.getElementById("items");
const everything = items.question.map((_, i) => i);
const byQuestion = new Map();
for (const i of everything) {
  const key = items.seed[i] + "/" + items.question[i];
  if (!byQuestion.has(key)) byQuestion.set(key, []);
  byQuestion.get(key).push(i);
}
const about = {
  training: (i) => conditions[items.condition[i]][0],
  asking: (i) => conditions[items.condition[i]][1],
  kind: (i) => kinds[questions[items.question[i]][1]].name,
  verdict: (i) => verdicts[items.verdict[i]],
  seed: (i) => String(items.seed[i]),
};
const haystacks = [];
function haystack(i) {
  if (haystacks[i] === undefined) {
    const [text, , expected] = questions[items.question[i]];
    haystacks[i] = [text, items.answer[i], ...expected, ...contexts[items.context[i]], ...(items.thought[i] ? items.thought[i].does : [])].join("\n").toLowerCase();
  }
  return haystacks[i];
}

for (const name of Object.keys(about)) {
  const known = name === "kind" ? kinds.map((k) => [k.name, k.label]) : [...new Set(everything.map(about[name]))].map((v) => [v, v]);
  if (name === "seed" || name === "verdict") known.sort((a, b) => a[0].localeCompare(b[0], undefined, { numeric: true }));
  for (const [value, label] of known) form.elements[name].append(new Option(label, value));
}

function readAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  for (const field of form.elements) if (field.name) field.value = wanted.get(field.name) || "";
  return { page: Math.max(1, Number(wanted.get("page")) || 1), open: Number(wanted.get("open")) || 0 };
}
function writeAddress(page) {
  const state = new URLSearchParams();
  for (const field of form.elements) if (field.name && field.value) state.set(field.name, field.value);
  if (page > 1) state.set("page", String(page));
  const text = state.toString();
  history.replaceState(null, "", text ? "#" + text : "#explorer");
}

let current = 1;
function show(page, open) {
  const needle = form.elements.q.value.trim().toLowerCase();
  const tests = Object.keys(about).filter((name) => form.elements[name].value).map((name) => [about[name], form.elements[name].value]);
  const found = everything.filter((i) => tests.every(([of, value]) => of(i) === value) && (!needle || haystack(i).includes(needle)));
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  current = Math.min(page, pages);
  const slice = found.slice((current - 1) * PAGE, current * PAGE);
  document.getElementById("count").textContent = found.length === 1 ? "1 item" : found.length.toLocaleString("en") + " items";
  document.getElementById("where").textContent = "page " + current + " of " + pages;
  document.getElementById("previous").disabled = current <= 1;
  document.getElementById("next").disabled = current >= pages;
  list.replaceChildren(...slice.map((i, at) => entry(i, at + 1 === open)));
}

function entry(i, open) {
  const [text, , expected] = questions[items.question[i]];
  const line = make("summary");
  const asked = make("span", "asked");
  asked.append(make("span", "", text), make("span", "arrow", "\u2192"), make("span", "given", items.answer[i] || "(nothing)"));
  if (about.verdict(i) !== "correct") asked.append(make("span", "arrow", "expected"), make("span", "", expected.join(" or ")));
  const kind = kinds[questions[items.question[i]][1]];
  line.append(make("span", "verdict " + about.verdict(i), about.verdict(i)), asked, make("span", "meta", [kind.label, about.asking(i), about.training(i), "seed " + items.seed[i]].join(" \u00b7 ")));
  const fold = make("details");
  fold.append(line);
  const fill = () => { if (fold.open && fold.childElementCount === 1) fold.append(body(i)); };
  fold.addEventListener("toggle", fill);
  if (open) { fold.open = true; fill(); }
  const item = make("li");
  item.append(fold);
  return item;
}

function part(title, content) {
  const box = make("div");
  box.append(make("h4", "", title), content);
  return box;
}

function body(i) {
  const [text, kind, expected, choices] = questions[items.question[i]];
  const box = make("div", "body");
  const lines = contexts[items.context[i]];
  const marked = new Set(items.marked[i]);
  const context = make("div", "context");
  context.tabIndex = 0;
  lines.forEach((line, at) => {
    if (typeof line === "number") context.append(make("div", "omitted", line === 1 ? "1 line left out here" : line.toLocaleString("en") + " lines left out here"));
    else context.append(make("div", marked.has(at) ? "supporting" : "", line));
  });
  if (!items.whole[i]) context.append(make("div", "question", text));
  box.append(part("What the model read" + (marked.size ? " (marked: " + marks + ")" : lines.length ? "" : ": the question alone"), context));
  if (items.thought[i]) box.append(part("What it thought: " + items.thought[i].does.join("; "), thoughts(items.thought[i])));
  const answer = make("div", "asked");
  answer.append(make("span", "given", items.answer[i] || "(nothing)"), make("span", "arrow", "expected"), make("span", "", expected.join(" or ")));
  box.append(part("Answer (" + about.verdict(i) + ")", answer));
  box.append(part("What this kind asks", make("div", "", kinds[kind].description)));
  if (items.nats[i].length) box.append(part("Likelihood of each choice", likelihoods(items.nats[i], choices, expected)));
  const others = byQuestion.get(items.seed[i] + "/" + items.question[i]).filter((j) => j !== i);
  if (others.length) box.append(part("The same question, asked otherwise", compared(others)));
  return box;
}

function thoughts({ lines, missing }) {
  const box = make("ul", "others thoughts");
  const add = (word, kind, text) => {
    const line = make("li");
    line.append(make("span", "verdict " + kind, word), make("span", "given", text));
    box.append(line);
  };
  for (const [text, told, needed] of lines) add(needed ? "needed" : told ? "told" : "made up", needed ? "correct" : told ? "" : "wrong", text);
  for (const text of missing) add("missing", "missing", text);
  return box;
}

function likelihoods(nats, choices, expected) {
  const box = make("div", "choices");
  const known = nats.filter((n) => n !== null);
  const best = Math.max(...known);
  const whole = known.reduce((sum, n) => sum + Math.exp(n - best), 0);
  const order = choices.map((_, at) => at).sort((a, b) => (nats[b] ?? -Infinity) - (nats[a] ?? -Infinity));
  for (const at of order) {
    const share = nats[at] === null ? 0 : Math.exp(nats[at] - best) / whole;
    const right = expected.includes(choices[at]);
    const track = make("div", "track");
    const fill = make("div", "fill");
    fill.style.width = (100 * share).toFixed(1) + "%";
    track.append(fill);
    const said = nats[at] === null ? "unknown" : (100 * share).toFixed(1) + " %, " + nats[at].toFixed(2) + " nats";
    box.append(make("span", "name" + (right ? " right" : ""), choices[at] + (right ? " \u2713" : "")), track, make("span", "value", said));
  }
  return box;
}

function compared(others) {
  const box = make("ul", "others");
  for (const j of others) {
    const line = make("li");
    const told = make("span");
    told.append(make("span", "given", items.answer[j] || "(nothing)"), make("span", "meta", "  " + about.asking(j) + " \u00b7 " + about.training(j)));
    line.append(make("span", "verdict " + about.verdict(j), about.verdict(j)), told);
    box.append(line);
  }
  return box;
}

function changed() { writeAddress(1); show(1, 0); }
let typing;
form.addEventListener("input", (e) => { clearTimeout(typing); typing = setTimeout(changed, e.target.name === "q" ? 200 : 0); });
form.addEventListener("submit", (e) => e.preventDefault());
for (const [id, by] of [["previous", -1], ["next", 1]]) {
  document.getElementById(id).addEventListener("click", () => {
    show(current + by, 0);
    writeAddress(current);
    document.getElementById("explorer").scrollIntoView();
  });
}
function fromAddress() { const { page, open } = readAddress(); show(page, open); }
window.addEventListener("hashchange", () => { if (location.hash.includes("=")) fromAddress(); });
fromAddress();
drawAll().then(() => { root.dataset.ready = "true"; });
