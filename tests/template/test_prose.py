"""Style of the documents: noun clauses and avoided words, as tools/prose.py counts them."""

import pytest

from tools.prose import DOCUMENTS, count, counts

# Noun clauses per 1 000 words of all documents together.
LIMIT = 0.5


def test_documents_have_few_noun_clauses() -> None:
    *_, (_, total) = counts(DOCUMENTS)
    assert total.words > 10_000
    assert total.clauses_per_1000() <= LIMIT


@pytest.mark.parametrize(
    ("text", "clauses", "avoided"),
    [
        ("It prints what changes. Whoever reads it knows.", 2, 0),
        ("Errors are for who sent them.", 1, 0),
        ("There is no lock.", 0, 1),
        ('What does it do? Decide what to do. An owner who adds `what is`: "what was".', 0, 0),
    ],
)
def test_count_finds_noun_clauses_and_avoided_words(text: str, clauses: int, avoided: int) -> None:
    assert count(text)[1:] == (clauses, avoided)
