// Deno.serve's declarative form, for `deno serve`; --parallel starts the workers.
const UPSTREAM = "http://" + Deno.env.get("UPSTREAM") + "/hello";
const page = "0123456789abcde\n".repeat(4096);
const kilobyte = "x".repeat(1024);
const users = new URLPattern({ pathname: "/users/:id" });
const news = new Set();

function burn(rounds) {
  let x = 1;
  for (let i = 0; i < rounds; i++) x = (x * 421 + 1663) % 7875;
  return x + "\n";
}

function websocket(req, isNews) {
  const { socket, response } = Deno.upgradeWebSocket(req, { idleTimeout: 0 });
  socket.binaryType = "arraybuffer";
  if (isNews) {
    socket.onopen = () => {
      news.add(socket);
      socket.send("subscribed");
    };
    socket.onclose = () => news.delete(socket);
    socket.onmessage = () => { for (const one of news) one.send(kilobyte); };
  } else {
    socket.onmessage = (event) => socket.send(event.data);
  }
  socket.onerror = () => {};
  return response;
}

export default {
  async fetch(req) {
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
      case "/upstream": return new Response(await (await fetch(UPSTREAM)).text());
      case "/burn": return new Response(burn(Number(req.url.slice(mark + 3))));
      case "/echo": return websocket(req, false);
      case "/news": return websocket(req, true);
    }
    const user = users.exec(req.url);
    if (!user) return new Response("", { status: 404 });
    const language = req.headers.get("accept-language") ?? "-";
    return new Response(user.pathname.groups.id + " " + language + "\n");
  },
};
