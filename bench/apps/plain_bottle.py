"""The least that Bottle needs for the request of the benchmark."""

import bottle


def show() -> dict[str, object]:
    return {"message": "hello", "id": 42, "ok": True}


app = bottle.Bottle()
app.route("/thing", "GET", show)
