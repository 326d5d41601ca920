// Bun.serve with its own router and WebSockets. Two workers are two processes that
// share the port, which is how Bun's documentation does it.
const { PORT, UPSTREAM } = process.env;
const page = "0123456789abcde\n".repeat(4096);
const kilobyte = "x".repeat(1024);
const upstream = "http://" + UPSTREAM + "/hello";

function burn(rounds) {
  let x = 1;
  for (let i = 0; i < rounds; i++) x = (x * 421 + 1663) % 7875;
  return x + "\n";
}

const files = {};
for (const name of ["64k.bin", "1m.bin"]) {
  files["/files/" + name] = () => new Response(Bun.file(process.env.FILES + "/" + name));
}

Bun.serve({
  port: Number(PORT),
  hostname: "127.0.0.1",
  reusePort: true,
  idleTimeout: 255,
  development: false,
  routes: {
    "/hello": () => new Response("Hello, world\n"),
    "/json": () => Response.json({
      id: 42, name: "Ann Example", admin: false, score: 17.25, team: "red",
    }),
    "/users/:id": (req) => new Response(
      req.params.id + " " + (req.headers.get("accept-language") ?? "-") + "\n"),
    "/page": () => new Response(page),
    "/post": { POST: async (req) => new Response(await req.text()) },
    "/upstream": async () => new Response(await (await fetch(upstream)).text()),
    "/burn": (req) => new Response(burn(Number(req.url.slice(req.url.indexOf("?n=") + 3)))),
    "/echo": (req, server) => server.upgrade(req, { data: { news: false } })
      ? undefined : new Response("", { status: 426 }),
    "/news": (req, server) => server.upgrade(req, { data: { news: true } })
      ? undefined : new Response("", { status: 426 }),
    ...files,
  },
  fetch: () => new Response("", { status: 404 }),
  websocket: {
    idleTimeout: 0,
    perMessageDeflate: false,
    publishToSelf: true,
    open(ws) {
      if (!ws.data.news) return;
      ws.subscribe("news");
      ws.send("subscribed");
    },
    message(ws, message) {
      if (ws.data.news) ws.publish("news", kilobyte);
      else ws.send(message);
    },
  },
});
