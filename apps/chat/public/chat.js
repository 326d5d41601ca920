// One room of the chat. What comes from the server is only ever put into the page as
// text (textContent), never as HTML.
"use strict";

const $ = id => document.getElementById(id);
const log = $("log"), text = $("text");

let name = localStorage.getItem("chat name") || "";
let room = "";
let socket = null;        // the WebSocket, or null between two
let me = "";              // the name that the server has given us in this room
let tries = 0;            // since the last time that we were connected
let retry = 0;            // timer
let last = 0;             // id of the newest message that is shown
const id = crypto.randomUUID?.() ?? Math.random().toString(36).slice(2); // of this page
let unsent = [];          // { text, element }: said and not yet come back
const people = new Map(); // name -> how many times
const typing = new Map(); // name -> timer
let typed = 0;            // when we last said that we are typing

// ---- what is shown ----

function state(kind, words) {
  $("state").dataset.state = kind;
  $("state").firstElementChild.textContent = words;
}

const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 60;

function toEnd() {
  log.scrollTop = log.scrollHeight;
  $("below").hidden = true;
}

function add(element, follow) {
  const end = atEnd();
  log.append(element);
  if (end || follow) toEnd();
  else if (element.classList.contains("message")) $("below").hidden = false;
  return element;
}

function line(kind, words) {
  const p = document.createElement("p");
  p.className = kind;
  p.textContent = words;
  return add(p);
}

const day = at => at.toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" });

function bubble(from, words, at, own) {
  const before = log.lastElementChild;
  if (log.dataset.day !== day(at)) {
    log.dataset.day = day(at);
    line("day", day(at));
  }
  const box = document.createElement("div"), who = document.createElement("div");
  const what = document.createElement("div"), when = document.createElement("time");
  box.className = "message" + (own ? " own" : "");
  box.dataset.from = from;
  if (before?.classList.contains("message") && before.dataset.from === from) box.classList.add("more");
  who.className = "who";
  who.textContent = from;
  what.className = "what";
  what.textContent = words;
  when.dateTime = at.toISOString();
  when.textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  what.append(when);
  box.append(who, what);
  return box;
}

function showPeople() {
  const names = [...people.keys()].sort((a, b) => a.localeCompare(b));
  $("people").textContent = names.length === 1 ? "only you" : names.length + " people";
  $("people").hidden = names.length === 0;
  $("names").replaceChildren(...names.map(one => {
    const li = document.createElement("li");
    li.textContent = one === me ? one + " (you)" : one;
    return li;
  }));
}

function showTyping() {
  const names = [...typing.keys()];
  $("typing").textContent = names.length === 0 ? ""
    : names.length === 1 ? names[0] + " is typing …"
    : names.length === 2 ? names.join(" and ") + " are typing …"
    : "several people are typing …";
}

function stopTyping(who) {
  clearTimeout(typing.get(who));
  if (typing.delete(who)) showTyping();
}

// ---- what the server tells ----

function message(news) {
  if (news.id <= last) return; // it was in the history, too
  last = news.id;
  stopTyping(news.name);
  const own = news.name === me;
  if (own && unsent.length && unsent[0].text === news.text) unsent.shift().element.remove();
  add(bubble(news.name, news.text, new Date(news.at * 1000), own), own);
  for (const one of unsent) log.append(one.element);
}

const tell = {
  welcome(news) {
    const newest = news.history.at(-1);
    if (!newest || newest.id < last) last = 0; // the server has forgotten everything
    me = news.name;
    people.clear();
    for (const one of news.people) people.set(one, true);
    for (const one of news.history) message(one);
    showPeople();
    tries = 0;
    state("on", "connected");
    for (const one of unsent) send({ say: one.text });
  },
  message,
  join(news) {
    if (!people.has(news.name)) line("news", news.name + " has come in");
    people.set(news.name, true);
    showPeople();
  },
  leave(news) {
    if (news.name === me) return;
    if (people.delete(news.name)) line("news", news.name + " has gone");
    stopTyping(news.name);
    showPeople();
  },
  typing(news) {
    if (news.name === me) return;
    clearTimeout(typing.get(news.name));
    typing.set(news.name, setTimeout(stopTyping, 4000, news.name));
    showTyping();
  },
};

// ---- the connection ----

function send(what) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(what));
}

function connect() {
  clearTimeout(retry);
  state("wait", tries ? "connecting again …" : "connecting …");
  const place = location.origin.replace(/^http/, "ws");
  const here = new WebSocket(`${place}/room/${encodeURIComponent(room)}?name=${encodeURIComponent(name)}&id=${id}`);
  socket = here;
  here.onmessage = event => {
    if (here !== socket) return;
    const news = JSON.parse(event.data);
    tell[news.type]?.(news);
  };
  here.onclose = event => {
    if (here !== socket) return;
    socket = null;
    for (const who of [...typing.keys()]) stopTyping(who);
    if (event.code === 1008) {
      state("bad", event.reason || "refused");
      enter();
      return;
    }
    // 1/2, 1, 2 ... 30 seconds, and not all clients at once. A server that is merely
    // replaced (1012) is there already.
    const pause = event.code === 1012 ? 0
      : Math.min(30, 2 ** tries / 2) * (0.7 + 0.6 * Math.random());
    tries++;
    state("bad", navigator.onLine === false ? "you are offline"
      : pause < 3 ? "connection lost" : `trying again in ${Math.round(pause)} s`);
    retry = setTimeout(connect, pause * 1000);
  };
}

addEventListener("online", () => { if (room && !socket) { tries = 0; connect(); } });
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && room && !socket) connect();
});

// ---- what you do ----

function say() {
  const words = text.value.trim();
  if (!words) return;
  const element = bubble(me, words, new Date(), true);
  element.classList.add("pending");
  unsent.push({ text: words, element: add(element, true) });
  send({ say: words });
  text.value = "";
  typed = 0;
  grow();
}

function grow() {
  text.style.height = "auto";
  text.style.height = text.scrollHeight + 2 + "px";
}


text.addEventListener("input", () => {
  grow();
  if (text.value && Date.now() - typed > 2000) {
    typed = Date.now();
    send({ typing: true });
  }
});
text.addEventListener("keydown", event => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    say();
  }
});
$("say").addEventListener("submit", event => { event.preventDefault(); say(); text.focus(); });
$("below").addEventListener("click", toEnd);
log.addEventListener("scroll", () => { if (atEnd()) $("below").hidden = true; });
$("people").addEventListener("click", () => {
  const open = $("names").hidden;
  $("names").hidden = !open;
  $("people").setAttribute("aria-expanded", open);
});

// ---- coming in ----

function enter() {
  room = "";
  $("say").hidden = log.hidden = $("people").hidden = $("names").hidden = true;
  $("enter").hidden = false;
  $("name").value = name;
  $("where").value = decodeURIComponent(location.hash.slice(1)) || "lobby";
  ($("name").value ? $("where") : $("name")).focus();
}

function begin(where) {
  room = where;
  document.title = `${room} – chat`;
  $("room").textContent = "# " + room;
  $("enter").hidden = true;
  $("say").hidden = log.hidden = false;
  log.replaceChildren();
  last = tries = 0;
  unsent = [];
  delete log.dataset.day;
  const before = socket;
  socket = null;
  before?.close();
  connect();
  text.focus();
}

$("enter").addEventListener("submit", event => {
  event.preventDefault();
  name = $("name").value.trim();
  if (!name) return;
  localStorage.setItem("chat name", name);
  const where = "#" + $("where").value.toLowerCase();
  if (location.hash === where) begin(where.slice(1));
  else location.hash = where; // and hashchange begins
});

function arrive() {
  const where = decodeURIComponent(location.hash.slice(1));
  if (name && /^[a-z0-9_-]{1,24}$/.test(where)) begin(where);
  else enter();
}
addEventListener("hashchange", arrive);
state("off", "");
arrive();
