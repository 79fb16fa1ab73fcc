"use strict";
// What documents and models say is set as text (textContent), never as HTML.
const $ = (id) => document.getElementById(id);
const SHOWN = 8; // passages that are not folded away
const question = $("question"), turns = $("turns");
let messages = [], writing = null, token = "";

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function say(notice) {
  $("notice").textContent = notice;
  $("notice").hidden = !notice;
}

function refresh() {
  $("send").disabled = !question.value.trim();
  $("send").hidden = writing !== null;
  $("stop").hidden = writing === null;
  $("new").hidden = !turns.children.length;
  $("empty").hidden = Boolean(turns.children.length);
  question.style.height = "auto"; // set through the object model, which the policy allows
  question.style.height = `${question.scrollHeight}px`;
}

const atEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 60;
const toEnd = () => scrollTo(0, document.documentElement.scrollHeight);

function turn(className, text) {
  const item = element("li", className), body = element("div", "text", text);
  item.append(body);
  turns.append(item);
  return [item, body];
}

// -- what an answer rests on

function passage(source, number) {
  const details = element("details"), summary = element("summary");
  summary.append(element("span", "number", `${number}`), element("span", "file", source.file || source.document), element("span", "section", source.section || ""));
  details.append(summary, element("blockquote", "text", source.text));
  return details;
}

function rests(sources, trace) {
  const parts = element("div", "rests");
  if (trace) {
    const details = element("details", "trace"), summary = element("summary");
    summary.append(element("span", "file", "What it recalled first"), element("span", "section", ""));
    details.append(summary, element("blockquote", "text", trace));
    parts.append(details);
  }
  if (sources.length) {
    parts.append(element("h2", "", sources.length === 1 ? "It was given this passage" : `It was given these ${sources.length} passages`));
    const ranked = [...sources].sort((a, b) => (b.score ?? 0) - (a.score ?? 0)).map((source, i) => passage(source, i + 1));
    parts.append(...ranked.slice(0, SHOWN));
    if (ranked.length > SHOWN) {
      const more = element("details"), summary = element("summary");
      summary.append(element("span", "file", `and ${ranked.length - SHOWN} more`), element("span", "section", ""));
      more.append(summary, ...ranked.slice(SHOWN));
      parts.append(more);
    }
  }
  return parts;
}

function note(finish, usage, seconds) {
  const parts = [];
  if (finish === "stopped") parts.push("stopped");
  if (finish === "length") parts.push("cut off at the limit");
  if (usage) parts.push(`${usage.completion_tokens} token${usage.completion_tokens === 1 ? "" : "s"}, ${usage.prompt_tokens} read`);
  parts.push(`${seconds.toFixed(1)} s`);
  return element("p", "note", parts.join(" · "));
}

// -- asking

class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
  }
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const blocks = held.split("\n\n");
    held = blocks.pop();
    for (const block of blocks) if (block.startsWith("data: ") && block !== "data: [DONE]") yield JSON.parse(block.slice(6));
  }
}

async function* answer(messages, signal) {
  const response = await fetch("v1/chat/completions", {
    method: "POST", signal,
    headers: { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ messages, stream: true, stream_options: { include_usage: true } }),
  });
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw new Refused(response.status, body.error || { message: `the server says ${response.status}` });
  }
  for await (const chunk of events(response)) {
    if (chunk.error) throw new Refused(0, chunk.error);
    yield chunk;
  }
}

async function ask(text) {
  const started = performance.now(), control = new AbortController(), talk = messages;
  writing = control;
  talk.push({ role: "user", content: text });
  const [asked] = turn("asked", text), [said, body] = turn("said writing", "");
  said.setAttribute("aria-busy", "true");
  question.value = "";
  say("");
  refresh();
  toEnd();
  let finish = null, usage = null, below = null, failure = null;
  try {
    for await (const chunk of answer(talk, control.signal)) {
      const follow = atEnd(), choice = chunk.choices[0];
      if (choice?.delta?.content) body.textContent += choice.delta.content;
      if (choice?.finish_reason) [finish, below] = [choice.finish_reason, rests(chunk.sources || [], chunk.trace)];
      if (chunk.usage) usage = chunk.usage;
      if (follow) toEnd();
    }
    if (!finish) throw new Error("the connection broke off");
  } catch (error) {
    if (control.signal.aborted) finish = "stopped";
    else failure = error;
  }
  if (talk !== messages) return; // a new conversation was begun meanwhile
  const follow = atEnd();
  writing = null;
  said.classList.remove("writing");
  said.removeAttribute("aria-busy");
  const seconds = (performance.now() - started) / 1000;
  if (failure && !body.textContent) { // nothing was said: take the turn back, keep the question
    talk.pop();
    asked.remove();
    said.remove();
    if (!question.value) question.value = text;
    if (failure.status === 401) askForToken(token ? "That is not the token." : "");
    else say(failure instanceof Refused ? sentence(failure.message) : "The server cannot be reached.");
  } else {
    talk.push({ role: "assistant", content: body.textContent });
    if (!body.textContent && !failure) body.replaceWith(element("p", "note", finish === "stopped" ? "Stopped before it said anything." : "It said nothing."));
    if (failure) said.append(element("p", "failed", sentence(failure.message)));
    else said.append(...(below?.children.length ? [below] : []), note(finish, usage, seconds));
  }
  refresh();
  if (follow) toEnd();
  if ($("key").hidden) question.focus();
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

function askForToken(notice) {
  say(notice);
  $("key").hidden = false;
  $("token").focus();
}

function anew() {
  writing?.abort();
  writing = null;
  messages = [];
  turns.replaceChildren();
  say("");
  refresh();
  question.focus();
}

$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("token").value = "";
  $("key").hidden = true;
  say("");
  question.focus();
  if (question.value.trim()) $("ask").requestSubmit();
});
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = question.value.trim();
  if (text && !writing) ask(text);
});
question.addEventListener("input", refresh);
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("ask").requestSubmit();
  } else if (event.key === "ArrowUp" && !question.value && messages.length) {
    event.preventDefault();
    question.value = messages.findLast((m) => m.role === "user").content;
    refresh();
  }
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && writing) writing.abort();
  if (event.altKey && event.code === "KeyN") { event.preventDefault(); anew(); }
});
$("stop").addEventListener("click", () => writing?.abort());
$("new").addEventListener("click", anew);
refresh();
