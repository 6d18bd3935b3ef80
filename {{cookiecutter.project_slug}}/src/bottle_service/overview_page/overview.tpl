<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>{{service}}: development</title>
  <style>{{!style}}</style>
</head>
<body>
<main>
  <header>
    <h1>{{service}}</h1>
    <p>{{description}}</p>
    <p class="note">Only development shows this page. Your page is <code>views/home.tpl</code>: to see it here,
      remove <code>overview</code> from <code>routes/pages.py</code>.</p>
  </header>

  <section>
    <h2>Health</h2>
    <ul class="health">
% for name, failure in health.items():
      <li class="{{'bad' if failure else 'good'}}"><b>{{name}}</b> {{failure or "responds"}}</li>
% end
      <li class="good"><b>process</b> responds</li>
    </ul>
  </section>

  <section>
    <h2>Routes</h2>
    <p>The commands need the token that <code>make run</code> prints:
      <code class="copy">TOKEN=$(sed -n 's/^API_TOKENS=dev://p' .env)</code></p>
% for call in calls:
    <article>
      <h3><span class="method">{{call.method}}</span> {{call.rule}} <small>{{call.access}}</small></h3>
      <p class="handler">{{call.handler}}</p>
%   if call.command:
      <pre class="copy">{{call.command}}</pre>
%   end
    </article>
% end
  </section>

  <section>
    <h2>Settings</h2>
    <table>
      <thead><tr><th>setting</th><th>value</th><th>source</th></tr></thead>
      <tbody>
% for setting in settings:
        <tr><td><code>{{setting.name}}</code></td><td>{{setting.value}}</td><td>{{setting.source}}</td></tr>
% end
      </tbody>
    </table>
  </section>

  <section>
    <h2>Next steps</h2>
    <ol>
      <li>Add a route: the README describes it in three steps.</li>
      <li>Run <code>make test</code>, and <code>make ci</code> before you push.</li>
      <li>Install it on a host: <code>deploy/README.md</code>.</li>
    </ol>
% if pages:
    <ul>
%   for path, title in pages:
      <li>{{title}}: <code>{{path}}</code></li>
%   end
    </ul>
% end
  </section>
</main>
</body>
</html>
