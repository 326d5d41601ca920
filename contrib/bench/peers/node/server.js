// node's own http server without a framework; ws, which most use, for WebSockets. Two
// workers are node's cluster, which gives each connection away in turn.
"use strict";
const cluster = require("cluster");
const http = require("http");
const { WebSocketServer } = require(process.env.NPM + "/ws");

const workers = Number(process.env.WORKERS);
const page = "0123456789abcde\n".repeat(4096);
const kilobyte = "x".repeat(1024);
const [upHost, upPort] = process.env.UPSTREAM.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });

function text(res, body, type) {
  res.writeHead(200, {
    "Content-Type": type || "text/plain; charset=utf-8",
    "Content-Length": Buffer.byteLength(body),
  });
  res.end(body);
}

function echo(req, res) {
  const parts = [];
  req.on("data", (part) => parts.push(part));
  req.on("end", () => text(res, Buffer.concat(parts)));
}

function upstream(res) {
  http.get({ host: upHost, port: upPort, path: "/hello", agent }, (answer) => {
    const parts = [];
    answer.on("data", (part) => parts.push(part));
    answer.on("end", () => text(res, Buffer.concat(parts)));
  });
}

function burn(rounds) {
  let x = 1;
  for (let i = 0; i < rounds; i++) x = (x * 421 + 1663) % 7875;
  return x + "\n";
}

function handle(req, res) {
  const mark = req.url.indexOf("?");
  const path = mark < 0 ? req.url : req.url.slice(0, mark);
  switch (path) {
    case "/hello": return text(res, "Hello, world\n");
    case "/json": return text(res, JSON.stringify({
      id: 42, name: "Ann Example", admin: false, score: 17.25, team: "red",
    }), "application/json");
    case "/page": return text(res, page);
    case "/post": return echo(req, res);
    case "/upstream": return upstream(res);
    case "/burn": return text(res, burn(Number(req.url.slice(mark + 3))));
  }
  const user = /^\/users\/([^/]+)$/.exec(path);
  if (user) {
    const language = req.headers["accept-language"] || "-";
    return text(res, decodeURIComponent(user[1]) + " " + language + "\n");
  }
  res.writeHead(404).end();
}

function serve() {
  const server = http.createServer({ keepAliveTimeout: 600000 }, handle);
  const sockets = new WebSocketServer({
    noServer: true, perMessageDeflate: false, clientTracking: false,
  });
  const news = new Set();
  server.on("upgrade", (req, socket, head) => {
    sockets.handleUpgrade(req, socket, head, (ws) => {
      ws.on("error", () => {});
      if (req.url === "/news") {
        news.add(ws);
        ws.on("close", () => news.delete(ws));
        ws.on("message", () => { for (const one of news) one.send(kilobyte); });
        ws.send("subscribed");
      } else {
        ws.on("message", (data, binary) => ws.send(data, { binary }));
      }
    });
  });
  server.listen({ port: Number(process.env.PORT), host: "127.0.0.1", backlog: 4096 });
}

if (workers > 1 && cluster.isPrimary) {
  for (let i = 0; i < workers; i++) cluster.fork();
  process.on("SIGTERM", () => {
    for (const id in cluster.workers) cluster.workers[id].process.kill("SIGKILL");
    process.exit(0);
  });
} else {
  serve();
}
