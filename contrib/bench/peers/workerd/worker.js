// A worker as Cloudflare runs it. All who get the news are in one Durable Object, since
// one request may not write to another's socket.
const page = "0123456789abcde\n".repeat(4096);
const kilobyte = "x".repeat(1024);
const users = new URLPattern({ pathname: "/users/:id" });

function burn(rounds) {
  let x = 1;
  for (let i = 0; i < rounds; i++) x = (x * 421 + 1663) % 7875;
  return x + "\n";
}

function upgrade(open) {
  const [client, server] = Object.values(new WebSocketPair());
  server.accept();
  server.addEventListener("error", () => {});
  open(server);
  return new Response(null, { status: 101, webSocket: client });
}

function echo(socket) {
  socket.addEventListener("message", (event) => socket.send(event.data));
}

export class News {
  all = new Set();
  fetch() {
    return upgrade((socket) => {
      this.all.add(socket);
      socket.addEventListener("close", () => this.all.delete(socket));
      socket.addEventListener("message", () => {
        for (const one of this.all) one.send(kilobyte);
      });
      socket.send("subscribed");
    });
  }
}

export default {
  async fetch(req, env) {
    const from = req.url.indexOf("/", 8);
    const mark = req.url.indexOf("?", from);
    const path = mark < 0 ? req.url.slice(from) : req.url.slice(from, mark);
    switch (path) {
      case "/hello": return new Response("Hello, world\n");
      case "/json": return Response.json({
        id: 42, name: "Ann Example", admin: false, score: 17.25, team: "red",
      });
      case "/page": return new Response(page);
      case "/post": return new Response(await req.text());
      case "/upstream":
        return new Response(await (await env.UPSTREAM.fetch("http://upstream/hello")).text());
      case "/burn": return new Response(burn(Number(req.url.slice(mark + 3))));
      case "/echo": return upgrade(echo);
      case "/news": return env.NEWS.get(env.NEWS.idFromName("news")).fetch(req);
    }
    const user = users.exec(req.url);
    if (!user) return new Response("", { status: 404 });
    const language = req.headers.get("accept-language") ?? "-";
    return new Response(user.pathname.groups.id + " " + language + "\n");
  },
};
