# h2o's mruby handlers, by path. It has no JSON for mruby, so the fields are put into a
# text; and no WebSockets.
PAGE = "0123456789abcde\n" * 4096

def text(body, type = "text/plain; charset=utf-8")
  [200, { "content-type" => type, "content-length" => body.bytesize.to_s }, [body]]
end

def burn(rounds)
  x = 1
  i = 0
  while i < rounds
    x = (x * 421 + 1663) % 7875
    i += 1
  end
  x.to_i.to_s + "\n"
end

def handler(name)
  case name
  when "hello" then ->(env) { text("Hello, world\n") }
  when "json"
    ->(env) do
      fields = { "id" => 42, "name" => "Ann Example", "admin" => false,
        "score" => 17.25, "team" => "red" }
      body = fields.map { |k, v| "\"#{k}\":" + (v.is_a?(String) ? "\"#{v}\"" : v.to_s) }
      text("{" + body.join(",") + "}", "application/json")
    end
  when "users"
    ->(env) { text("#{env["PATH_INFO"][1..-1]} #{env["HTTP_ACCEPT_LANGUAGE"] || "-"}\n") }
  when "page" then ->(env) { text(PAGE) }
  when "post" then ->(env) { text(env["rack.input"].read) }
  when "burn" then ->(env) { text(burn(env["QUERY_STRING"][2..-1].to_i)) }
  when "upstream"
    ->(env) do
      status, headers, body = http_request("http://#{ENV["UPSTREAM"]}/hello").join
      text(body.join)
    end
  end
end
