% rebase("layout.tpl", title=title)
    <h1>{{title}}</h1>
    <p>{{detail}}</p>
% if errors:
    <ul>
%   for error in errors:
      <li>{{error.pointer[1:]}}{{": " if error.pointer else ""}}{{error.message}}</li>
%   end
    </ul>
% end
    <p><small>Request {{request_id}}</small></p>
