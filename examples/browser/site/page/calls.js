// Every call that a page can make, and what it can know of the answer.

const session = await (await fetch("session")).json();
const kind = new URLSearchParams(location.search).get("gateway") === "secure" ? "secure" : "plain";
const gateway = session[kind];
const socket = gateway.replace(/^http/, "ws");
const bearer = { Authorization: "Bearer " + session.token };
const patience = 10_000;

document.getElementById("here").textContent = location.origin;
document.getElementById("there").textContent = gateway;
document.getElementById(kind).setAttribute("aria-current", "page");
document.getElementById("again").addEventListener("click", run);

// said makes a line of a denial's status, challenge and reason: all of it readable, since the gateway's CORS headers are there.
async function said(response) {
  const lines = [];
  const challenge = response.headers.get("www-authenticate");
  if (challenge) lines.push("www-authenticate: " + challenge);
  lines.push(JSON.stringify(await response.json()));
  return lines.join("\n");
}

function opened(url) {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url);
    ws.onopen = () => ws.send("hello");
    ws.onmessage = (e) => { resolve(e.data); ws.close(); };
    ws.onclose = (e) => reject(new Error("closed with code " + e.code + " before it was open"));
  });
}

const calls = [
  {
    id: "read", title: "Read with a token", call: "fetch GET /api/orders, Authorization: Bearer …", expect: "200",
    why: "The browser asks first (OPTIONS): the gateway answers that by itself, from the CORS filter of the route.",
    async make() {
      const r = await fetch(gateway + "/api/orders", { headers: bearer });
      return [String(r.status), await said(r)];
    },
  },
  {
    id: "write", title: "Write without the scope", call: "fetch POST /api/orders, application/json", expect: "403 insufficient_scope",
    why: "The denial is the gateway's, and the page can read its status, its challenge and its reason.",
    async make() {
      const r = await fetch(gateway + "/api/orders", { method: "POST", headers: { ...bearer, "Content-Type": "application/json" }, body: '{"item":"tea"}' });
      const text = await said(r.clone());
      return [r.status + " " + (await r.json()).error, text];
    },
  },
  {
    id: "anonymous", title: "Read without a token", call: "fetch GET /api/orders", expect: "401",
    why: "www-authenticate says that a Bearer token is needed.",
    async make() {
      const r = await fetch(gateway + "/api/orders");
      return [String(r.status), await said(r)];
    },
  },
  {
    id: "hidden", title: "A route without the filter", call: "fetch GET /inside", expect: "unreadable",
    why: "The answer is 200, and the browser keeps it from this page: the route names no origin.",
    async make() {
      try {
        const r = await fetch(gateway + "/inside");
        return ["read " + r.status, ""];
      } catch (e) {
        return ["unreadable", String(e)];
      }
    },
  },
  {
    id: "stream", title: "A stream with a token", call: "fetch GET /api/stream, text/event-stream", expect: "5 events",
    why: "fetch reads event by event, and unlike EventSource it can send a token.",
    async make() {
      const r = await fetch(gateway + "/api/stream", { headers: bearer });
      const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "", parts = 0;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        text += value;
        parts++;
      }
      return [(text.match(/^data: /gm) || []).length + " events", "in " + parts + " parts, as they came"];
    },
  },
  {
    id: "eventsource", title: "EventSource", call: "new EventSource(/public/ticker)", expect: "3 events",
    why: "It cannot send a token, so its route is public.",
    make() {
      return new Promise((resolve, reject) => {
        const source = new EventSource(gateway + "/public/ticker");
        const seen = [];
        source.onmessage = (e) => {
          seen.push(e.data);
          if (seen.length === 3) { source.close(); resolve(["3 events", "data: " + seen.join(", ")]); }
        };
        source.onerror = () => { source.close(); reject(new Error("the source failed")); };
      });
    },
  },
  {
    id: "websocket", title: "WebSocket", call: "new WebSocket(/live)", expect: "hello",
    why: "The browser sends this page's origin, and the route matches no other: CORS does not hold for WebSockets.",
    async make() { return [await opened(socket + "/live"), "sent and came back"]; },
  },
  {
    id: "refused", title: "WebSocket without a token", call: "new WebSocket(/api/stream)", expect: "refused",
    why: "The upgrade is judged before anything is behind it. The browser tells the page nothing but that it failed.",
    async make() {
      try { return ["open: " + await opened(socket + "/api/stream"), ""]; } catch (e) { return ["refused", e.message]; }
    },
  },
];

function element(tag, name, text) {
  const e = document.createElement(tag);
  e.className = name;
  e.textContent = text;
  return e;
}

function limit(promise) {
  return Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error("no answer in time")), patience))]);
}

async function run() {
  delete document.body.dataset.done;
  const list = document.getElementById("calls"), summary = document.getElementById("summary");
  summary.textContent = "calling…";
  list.replaceChildren();
  let good = 0;
  for (const c of calls) {
    const item = document.createElement("li");
    const head = document.createElement("div");
    head.append(element("h2", "", c.title), element("code", "call", c.call));
    const outcome = element("span", "outcome", "…"), detail = element("div", "detail", "");
    item.id = c.id;
    item.append(head, outcome, element("div", "why", c.why), detail);
    list.append(item);
    let got, text;
    try { [got, text] = await limit(c.make()); } catch (e) { [got, text] = ["failed", String(e)]; }
    outcome.textContent = got;
    detail.textContent = text;
    item.dataset.outcome = got;
    item.className = got === c.expect ? "good" : "bad";
    if (got === c.expect) good++;
  }
  summary.textContent = good + " of " + calls.length + " as expected";
  document.body.dataset.done = String(good);
}

await run();
