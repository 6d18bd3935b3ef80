% rebase("layout.tpl", title=title)
    <h1>{{title}}</h1>
    <p>{{detail}}</p>
    <p><small>Request {{request_id}}</small></p>
