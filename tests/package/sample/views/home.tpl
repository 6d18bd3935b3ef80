% rebase("layout.tpl", title=service)
    <h1>{{service}}</h1>
    <p>{{description}}</p>
