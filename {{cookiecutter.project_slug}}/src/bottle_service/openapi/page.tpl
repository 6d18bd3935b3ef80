<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>{{info["title"]}}: API</title>
  <style>{{!style}}</style>
</head>
<body>
<main>
  <header>
    <h1>{{info["title"]}}: API</h1>
    <p>{{info["description"]}}</p>
    <p class="note"><a href="{{url_prefix}}/openapi.json">openapi.json</a> (OpenAPI 3.1) is for generators of clients and other programs.</p>
  </header>

  <section>
    <h2>Call it</h2>
    <p>The commands below need these variables of the shell:</p>
    <pre>URL=https://HOST{{url_prefix}}
% if "token" in schemes:
TOKEN=…
% end
% if "admin" in schemes:
ADMIN_TOKEN=…
% end
</pre>
    <p>An error is a JSON object of the type <code>application/problem+json</code>, with the members
      <code>title</code>, <code>status</code>, <code>detail</code> and <code>request_id</code>. If values are invalid,
      <code>errors</code> has a <code>pointer</code> and a <code>message</code> for each.</p>
  </section>

% for tag, description, sections in groups:
  <section>
    <h2>{{tag}}</h2>
%   if description:
    <p>{{description}}</p>
%   end
%   for section in sections:
%     operation = section.operation
    <details id="{{operation.id}}">
      <summary><span class="method {{operation.method.lower()}}">{{operation.method}}</span>
        <code class="path">{{operation.path}}</code> <span class="what">{{operation.summary}}</span>
%     if operation.options.deprecated:
        <em>deprecated</em>
%     end
      </summary>
%     if operation.description:
      <p class="description">{{operation.description}}</p>
%     end
%     access = {"token": "a token", "session": "a session", "admin": "ADMIN_TOKEN"}
%     required = " or ".join(access[one] for one in operation.schemes) or "no token"
      <p class="note">Requires {{" and the role ".join([required, *operation.roles])}}.</p>
%     if section.command:
      <pre class="copy">{{section.command}}</pre>
%     end
%     if section.rows:
      <table>
        <thead><tr><th>name</th><th>in</th><th>value</th></tr></thead>
        <tbody>
%       for row in section.rows:
          <tr><td><code>{{row.name}}</code></td><td>{{row.place}}</td><td>{{row.words}}{{", required" if row.is_required else ""}}
%         if row.description:
            <br><span class="note">{{row.description}}</span>
%         end
          </td></tr>
%       end
        </tbody>
      </table>
%     end
      <table class="responses">
        <thead><tr><th>status</th><th>response</th></tr></thead>
        <tbody>
%     for number, (status, words) in enumerate(section.responses):
          <tr><td><code>{{status}}</code></td><td>{{words}}
%       if number == 0 and section.example:
            <pre>{{section.example}}</pre>
%       end
          </td></tr>
%     end
        </tbody>
      </table>
    </details>
%   end
  </section>
% end
</main>
</body>
</html>
