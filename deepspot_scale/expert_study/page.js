"use strict";
// Answers of one expert. The next question is shown only after the server has said that
// the answer is on its disk; a request that fails is sent again until it succeeds, which
// the server allows: an answer is kept once. Nothing is stored in the browser.

const $ = id => document.getElementById(id);
const DEEPEST = 32, RETRY = [300, 600, 1000, 2000, 3000], PATIENCE = 20000;
let access = {}, state = null, score = null, typed = "", typedAt = 0, busy = false;
let lost = false;  // whether the server does not answer
let began = 0, hiddenAt = 0, zoom = { scale: 1, x: 0, y: 0, light: 1 };
const pictures = new Map();

// -- the server

function readAccess() {
  const words = new URLSearchParams(location.hash.slice(1));
  access = { expert: words.get("expert") || "", token: words.get("token") || "" };
}

function headers() {
  return { "X-Study-Expert": encodeURIComponent(access.expert),
    "X-Study-Token": access.token };
}

const wait = ms => new Promise(done => setTimeout(done, ms));

// Send until there is an answer: a server that was stopped may be started again.
async function request(path, body) {
  for (let tries = 0; ; tries++) {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), PATIENCE);
    try {
      const options = { headers: headers(), signal: stop.signal, cache: "no-store" };
      if (body !== undefined) {
        options.method = "POST";
        options.headers["Content-Type"] = "application/json";
        options.body = JSON.stringify(body);
      }
      const answer = await fetch(path, options);
      if (answer.ok) {
        const read = path.startsWith("/image/") ? await answer.blob()
          : await answer.json();
        if (lost) problem("");
        lost = false;
        return [read, answer.headers];
      }
      if (answer.status < 500) {
        const words = await answer.json().catch(() => ({}));
        throw new Refusal(words.error || answer.statusText, answer.status);
      }
    } catch (error) {
      if (error instanceof Refusal) throw error;
    } finally {
      clearTimeout(timer);
    }
    if (tries) {
      lost = true;
      problem("The server does not answer. What you answered last is sent again until " +
        "it is kept; please leave this page open.");
    }
    await wait(RETRY[Math.min(tries, RETRY.length - 1)]);
  }
}

class Refusal extends Error {
  constructor(words, status) { super(words); this.status = status; }
}

function problem(words) {
  $("problem").textContent = words;
  $("problem").hidden = !words;
}

// Do one thing at a time; what is clicked meanwhile is not done.
async function once(work) {
  if (busy) return;
  busy = true;
  document.body.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.status === 403) show("entry");
    problem(error.message);
  } finally {
    busy = false;
    document.body.removeAttribute("aria-busy");
  }
}

// -- what is shown

function show(part) {
  for (const id of ["entry", "consent", "finished", "question"]) $(id).hidden = id !== part;
}

async function showState(next) {
  state = next;
  $("expert").textContent = state.expert;
  $("who").hidden = $("progress").hidden = false;
  $("bar").max = state.total || 1;
  $("bar").value = state.done;
  $("count").textContent = `${state.done} of ${state.total}`;
  if (state.consent) {
    $("consent-text").textContent = state.consent;
    show("consent");
    return;
  }
  $("finished-back").hidden = !state.done;
  if (!state.question) {
    show("finished");
    return;
  }
  await showQuestion(state.question);
  state.ahead.forEach(id => picture(id).catch(() => {}));
}

async function showQuestion(question) {
  const rates = state.mode === "rate", corrects = state.back > 0;
  $("view").classList.add("waiting");
  const drawn = await picture(question.id);
  const image = $("image");
  image.src = drawn.url;
  await image.decode();
  forget([question.id, ...state.ahead]);
  resetView();
  $("view").classList.remove("waiting");
  $("greys").textContent = `grey ${drawn.low} to ${drawn.high}`;
  $("ask").textContent = rates ? "How good is this image?"
    : "Which score fits this image better?";
  $("rating").hidden = $("rate-keys").hidden = !rates;
  $("choice").hidden = rates;
  $("note").hidden = !corrects;
  $("note").textContent = corrects ? `You correct answer ${state.done - state.back + 1} ` +
    `of ${state.done}. It was: ${words(question.value)}.` : "";
  $("forward").hidden = !corrects;
  $("back").hidden = state.back >= state.done;
  if (rates) setScore(corrects ? question.value : null);
  else showChoice(question, corrects ? question.value : null);
  show("question");
  began = performance.now();
  $("ask").focus({ preventScroll: true });
}

function words(value) {
  if (value === "left") return `${state.question.left}, left`;
  if (value === "right") return `${state.question.right}, right`;
  return String(value);
}

function showChoice(question, value) {
  $("left").textContent = question.left;
  $("right").textContent = question.right;
  for (const button of document.querySelectorAll("#choice button")) {
    const side = button.dataset.choice;
    button.classList.toggle("said", side === value);
    if (side === "left" || side === "right")
      button.setAttribute("aria-label", `${side}: ${question[side]} of 100`);
  }
}

function setScore(value) {
  score = value;
  typed = value === null ? "" : typed;
  $("score").textContent = value === null ? "\u2013" : String(value);
  $("slider").value = value === null ? 50 : value;
  $("slider").classList.toggle("unset", value === null);
  $("slider").setAttribute("aria-valuetext", value === null ? "no score yet" : value);
  $("keep").disabled = value === null;
}

// -- images: as the server sends them, those to come loaded beforehand

function picture(id) {
  if (!pictures.has(id)) {
    const loading = request(`/image/${id}`).then(([blob, sent]) => ({
      url: URL.createObjectURL(blob),
      low: sent.get("X-Study-Low"), high: sent.get("X-Study-High") }));
    loading.catch(() => pictures.delete(id));
    pictures.set(id, loading);
  }
  return pictures.get(id);
}

function forget(kept) {
  for (const [id, loading] of pictures) {
    if (kept.includes(id)) continue;
    loading.then(drawn => URL.revokeObjectURL(drawn.url), () => {});
    pictures.delete(id);
  }
}

function resetView() {
  zoom = { scale: 1, x: 0, y: 0, light: 1 };
  drawView();
}

function drawView() {
  const box = $("view").getBoundingClientRect();
  const least = 1 - zoom.scale;
  zoom.x = Math.min(0, Math.max(least * box.width, zoom.x));
  zoom.y = Math.min(0, Math.max(least * box.height, zoom.y));
  $("image").style.transform =
    `translate(${zoom.x}px, ${zoom.y}px) scale(${zoom.scale})`;
  $("image").style.filter = zoom.light === 1 ? "" : `brightness(${zoom.light})`;
}

// The point (x, y) of the window stays where it is.
function zoomBy(factor, x, y) {
  const box = $("view").getBoundingClientRect();
  const px = (x ?? box.left + box.width / 2) - box.left;
  const py = (y ?? box.top + box.height / 2) - box.top;
  const scale = Math.min(DEEPEST, Math.max(1, zoom.scale * factor));
  zoom.x = px - (px - zoom.x) * scale / zoom.scale;
  zoom.y = py - (py - zoom.y) * scale / zoom.scale;
  zoom.scale = scale;
  drawView();
}

function lightBy(factor) {
  zoom.light = Math.min(8, Math.max(0.25, zoom.light * factor));
  drawView();
}

const fingers = new Map();
$("view").addEventListener("wheel", event => {
  event.preventDefault();
  zoomBy(Math.exp(-event.deltaY / 400), event.clientX, event.clientY);
}, { passive: false });
$("view").addEventListener("pointerdown", event => {
  $("view").setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
});
$("view").addEventListener("pointermove", event => {
  if (!fingers.has(event.pointerId)) return;
  const [x, y] = fingers.get(event.pointerId);
  const others = [...fingers].filter(([id]) => id !== event.pointerId);
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (others.length) {
    const [a, b] = others[0][1];
    const before = Math.hypot(x - a, y - b) || 1;
    zoomBy(Math.hypot(event.clientX - a, event.clientY - b) / before, a, b);
    return;
  }
  zoom.x += event.clientX - x;
  zoom.y += event.clientY - y;
  drawView();
});
for (const name of ["pointerup", "pointercancel"])
  $("view").addEventListener(name, event => fingers.delete(event.pointerId));
addEventListener("resize", drawView);

// -- answers

// Time in which the page was not seen does not count.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) hiddenAt = performance.now();
  else if (hiddenAt) began += performance.now() - hiddenAt;
});

function answer(value) {
  return once(async () => {
    const question = state && state.question;
    if (!question || $("question").hidden || value === null) return;
    problem("");
    const sent = { question: question.id, value, revision: question.revision,
      milliseconds: Math.max(0, Math.round(performance.now() - began)) };
    $("view").classList.add("waiting");
    try {
      const [next] = await request("/api/answer", sent);
      const kept = next.kept.value;
      $("said").textContent = `Kept: ${words(kept)}. ` +
        `${next.done} of ${next.total} answered.`;
      await showState(next);
      if (kept !== value) problem("This image had an answer already, from another " +
        "page or before; that one is kept. To change it, correct it.");
    } finally {
      $("view").classList.remove("waiting");
    }
  });
}

function ask(back) {
  return once(async () => showState((await request("/api/state", { back }))[0]));
}

const goBack = () => state && state.back < state.done && ask(state.back + 1);

function type(digit) {
  const now = performance.now();
  if (now - typedAt > 1500 || typed.length > 2) typed = "";
  typedAt = now;
  const longer = typed + digit;
  typed = Number(longer) <= 100 ? longer : digit;
  setScore(Number(typed));
}

function step(by) {
  typed = "";
  setScore(Math.min(100, Math.max(0, (score ?? 50) + by)));
}

const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -10, ArrowUp: 10,
  PageDown: -10, PageUp: 10 };
const CHOICES = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "equivalent",
  1: "left", 2: "right", 3: "equivalent", 4: "discard" };
const VIEW = { "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5),
  r: resetView, "[": () => lightBy(1 / 1.25), "]": () => lightBy(1.25) };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.id === "pseudonym") return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "u" && !event.repeat && !$("finished").hidden) return goBack();
  if ($("question").hidden) return;
  if (!act(key, event)) return;
  event.preventDefault();
}

function act(key, event) {
  const rates = state.mode === "rate", onButton = event.target.tagName === "BUTTON";
  if (VIEW[key]) return VIEW[key](), true;
  if (key === "u") return event.repeat || goBack(), true;
  if (key === "Escape" && state.back) return ask(0), true;
  if (rates && STEPS[key]) return busy || step(STEPS[key]), true;
  if (rates && /^[0-9]$/.test(key)) return busy || type(key), true;
  if (rates && key === "Backspace") return busy || setScore(null), true;
  if (rates && key === "Enter" && !onButton) return event.repeat || answer(score), true;
  // A key that is held down answers one image, not all that follow.
  if (!rates && CHOICES[key]) return event.repeat || answer(CHOICES[key]), true;
  return false;
}

addEventListener("keydown", onKey);
$("rating").addEventListener("submit", event => { event.preventDefault(); answer(score); });
for (const name of ["input", "click"]) $("slider").addEventListener(name, () => {
  typed = "";
  setScore(Number($("slider").value));
});
for (const button of document.querySelectorAll("#choice button"))
  button.addEventListener("click", () => answer(button.dataset.choice));
for (const [id, work] of Object.entries({ "zoom-in": VIEW["+"], "zoom-out": VIEW["-"],
  fit: resetView, darker: VIEW["["], brighter: VIEW["]"], back: goBack,
  "finished-back": goBack, forward: () => ask(0) }))
  $(id).addEventListener("click", work);
$("agree").addEventListener("click", () => once(async () =>
  showState((await request("/api/consent", {}))[0])));
$("entry").addEventListener("submit", event => {
  event.preventDefault();
  const words = new URLSearchParams({ expert: $("pseudonym").value.trim() });
  if (access.token) words.set("token", access.token);
  location.hash = words.toString();
});
addEventListener("hashchange", begin);

function begin() {
  readAccess();
  problem("");
  if (matchMedia("(max-width: 52rem)").matches) $("keys").open = false;
  if (access.expert) return ask(0);
  show("entry");
  $("pseudonym").focus();
}

begin();
