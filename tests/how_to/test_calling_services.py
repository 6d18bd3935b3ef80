"""docs/how-to/calling-services.md."""

from ..support.fixtures import Generate
from ..support.matrix import LARGEST
from .steps import check, follow

# Another write does not wait for the catalogue.
LOCK_TEST = """
def test_other_writes_do_not_wait_for_the_catalogue(
    catalogue_client: TestApp, catalogue: StubCatalogue
) -> None:
    catalogue.delay = 0.4
    slow = Thread(target=catalogue_client.post, args=[f"{URL}/notes"])
    slow.start()
    while not catalogue.requests:
        time.sleep(0.01)
    catalogue_client.post_json("/api/v1/notes", {"title": "Hello"}, status=201)
    assert slow.is_alive()
    slow.join()
    titles = [note["title"] for note in catalogue_client.get("/api/v1/notes").json["items"]]
    assert titles == ["Hello", "Bottle"]
"""


def test_other_service_can_be_called(copied: Generate) -> None:
    project = copied(**LARGEST)
    follow(project, "calling-services.md")
    with (project / "tests/test_catalogue.py").open("a") as tests:
        tests.write(f"\n{LOCK_TEST}")
    check(project)
