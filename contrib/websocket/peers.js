// The package ws of node, to talk to:
//   node peers.js client URL   sends all sorts of messages and expects them back
//   node peers.js server       prints its port and sends back what comes
//   node peers.js names        "ws" when it is installed
"use strict";
const MAX = 64 * 1024 * 1024;

let WebSocket;
for (const place of ["ws", "/usr/share/nodejs/ws"]) {
  try { WebSocket = require(place); break; } catch { /* the next */ }
}

const text = Array.from({ length: 20000 }, (_, i) => `${i * i % 4001} \u20ac;`).join("");
const messages = ["", "a", "b".repeat(125), "c".repeat(126), "d".repeat(65535),
  "e".repeat(65536), text, text, Buffer.alloc(0), Buffer.from([0, 255, 1]),
  Buffer.alloc(300000, 7), "f".repeat(2000000)];

function fail(what) {
  console.error(what);
  process.exit(1);
}

function exchange(url, options) {
  return new Promise(resolve => {
    const ws = new WebSocket(url, ["echo"], { maxPayload: MAX, ...options });
    let next = 0, numbers = 0;
    ws.on("error", fail);
    ws.on("open", () => ws.protocol === "echo" ? ws.send(messages[0]) : fail("protocol"));
    ws.on("message", (data, binary) => {
      if (next < messages.length) {
        const sent = messages[next++];
        const same = binary === (typeof sent !== "string") && Buffer.from(sent).equals(data);
        if (!same) fail(`message ${next - 1} came back as ${data.length} bytes`);
        if (next < messages.length) ws.send(messages[next]);
        else for (let i = 0; i < 200; i++) ws.send("number " + i);
      } else {
        if (data.toString() !== "number " + numbers) fail("out of order");
        if (++numbers === 200) ws.ping("there?");
      }
    });
    ws.on("pong", data => data.toString() === "there?" && ws.close(1000, "that is all"));
    ws.on("close", code => code === 1000 ? resolve() : fail("closed with " + code));
  });
}

async function client(url) {
  for (const perMessageDeflate of [false, true, { clientNoContextTakeover: true },
    { serverMaxWindowBits: 10, clientMaxWindowBits: 9 }]) {
    await exchange(url, { perMessageDeflate });
  }
}

function server() {
  const all = new WebSocket.Server({
    host: "127.0.0.1", port: 0, maxPayload: MAX, perMessageDeflate: true,
  });
  all.on("listening", () => console.log(all.address().port));
  all.on("connection", ws => ws.on("message", (data, binary) => ws.send(data, { binary })));
}

const [mode, url] = process.argv.slice(2);
if (mode === "names") console.log(WebSocket ? "ws" : "");
else if (!WebSocket) fail("there is no package ws");
else if (mode === "client") client(url);
else server();
