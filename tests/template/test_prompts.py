"""Answers: all invalid ones are reported at once, and valid ones may be unusual names."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from cookiecutter.exceptions import FailedHookException
from packaging.utils import canonicalize_name

from hooks.pre_gen_project import problems

from ..support.files import nothing_written
from ..support.generate import (
    CHOICES,
    CONTEXT,
    PROJECT,
    PUBLIC,
    TEMPLATE,
    generate,
    run_cookiecutter,
)
from ..support.process import find_python, run

VALID = {
    "project_name": "A Service", "project_slug": "a-service", "package_name": "a_service", "description": "A service",
    "author_name": "Ada", "author_email": "ada@example.com", "domain_name": "a.example.com",
}  # fmt: skip

INVALID = {
    "project_name": ["", " ", 'a"b', "back\\slash", "bell\a", "two\nlines"],
    "project_slug": ["../evil", "/evil", "a", "A-b", "1a", "-a", "a-", "a_b", "a" * 40, "con", "lpt1", "a/b", "a/../b", "root", "www-data"],
    "package_name": ["class", "json", "bottle", "bottle_service", "tests", "a-b", "A", "1a", "é", "a.b"],
    "description": ["", 'say "hi"', "tab\there"],
    "author_name": ["", 'a"b'],
    "author_email": ["", "me", "me@", "me@host", "a b@example.com", 'a"@example.com'],
    "domain_name": ["", "localhost", "a/b.com", "A.example.com", "a_b.com", "a.com.", "-a.com", "a..com", f"{'a' * 64}.com"],
}  # fmt: skip

# Cookiecutter fails to remove the directory of a slug with slashes, because the hook has removed it.
FAILURES = (FailedHookException, OSError)


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, values in INVALID.items() for v in values]
)
def test_invalid_answer_is_reported_and_nothing_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    work = tmp_path / "above" / "work"
    work.mkdir(parents=True)
    with nothing_written(tmp_path), pytest.raises(FAILURES):
        generate(work, {name: value})
    if value == "/evil" and os.getuid() != 0:
        return  # Cookiecutter itself cannot create this directory
    head, *problems = capfd.readouterr().err.splitlines()
    assert head == "ERROR: nothing was generated."
    assert any(problem.startswith(f"  {name} ") for problem in problems)


def is_refused(package: str) -> bool:
    """Return whether the answer is refused because the name is that of another module."""
    answers = {**VALID, "package_name": package}
    return any("must not be Python's or a library's own" in one for one in problems(answers))


def test_modules_of_locked_packages_are_refused() -> None:
    """Else the service would import the library instead of its own package, or the other way round.

    Packages for other systems are not installed here; their module has the package's name.
    """
    locks = [PROJECT / name for name in ("requirements.txt", "requirements-dev.txt")]
    text = "".join(lock.read_text() for lock in locks)
    locked = {canonicalize_name(name) for name in re.findall(r"(?m)^([\w.-]+)==", text)}
    installed: dict[str, list[str]] = {}
    for module, packages in packages_distributions().items():
        for package in packages:
            installed.setdefault(canonicalize_name(package), []).append(module)
    modules = {
        module
        for package in locked
        for module in installed.get(package, [package.replace("-", "_")])
    }
    modules = {"cgi" if module == "legacy_cgi" else module for module in modules}
    assert len(modules) > 40
    free = {
        name for name in modules if re.fullmatch(r"[a-z][a-z0-9_]*", name) and not is_refused(name)
    }
    assert not free, f"hooks/pre_gen_project.py: add {sorted(free)} to TAKEN"


def test_modules_of_each_standard_library_are_refused() -> None:
    """Also those that only another Python than the one of the hook has."""
    found = {
        sys.executable,
        *filter(None, map(find_python, ("3.11", "3.12", "3.13", "3.14", "3.15"))),
    }
    printed = "import sys; print(*sys.stdlib_module_names)"
    names = {name for python in found for name in run(python, "-c", printed, cwd=TEMPLATE).split()}
    free = {name for name in names if not name.startswith("_") and not is_refused(name)}
    # Names with capital letters are refused for these.
    free = {name for name in free if name == name.lower()}
    assert not free, f"hooks/pre_gen_project.py: add {sorted(free)} to STANDARD"
    assert is_refused("test")


@pytest.mark.parametrize(
    "name",
    [
        "Test",
        "Multipart",
        "Prometheus Client",
        "Packaging",
        "Gevent",
        "Greenlet",
        "Bs4",
        "Zope",
        "Cgi",
    ],
)
def test_project_named_like_a_module_is_refused(tmp_path: Path, name: str) -> None:
    with nothing_written(tmp_path):
        done = run_cookiecutter(tmp_path, answers={"project_name": name})
    assert "package_name must not be Python's or a library's own" in done.stderr


def test_all_invalid_answers_are_reported_in_one_block(tmp_path: Path) -> None:
    answers = {name: values[-1] for name, values in INVALID.items()}
    with nothing_written(tmp_path):
        done = run_cookiecutter(tmp_path, answers=answers)
    lines = done.stderr.splitlines()[: len(INVALID) + 1]
    assert [line.split()[0] for line in lines] == [
        "ERROR:", "project_name", "description", "author_name", "project_slug", "package_name",
        "domain_name", "author_email",
    ]  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
def test_invalid_choice_is_rejected(tmp_path: Path, name: str) -> None:
    with nothing_written(tmp_path):
        done = run_cookiecutter(tmp_path, answers={name: "none of these"})
    assert done.returncode != 0
    assert CHOICES[name][0] in done.stderr


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Zweig & Söhne", "zweig-sohne"),
        ("O'Brien's", "o-brien-s"),
        ("100 %", "service-100"),
        ("Ünïcödé 🙂 {{ '{{' }}", "unicode"),
        ("It's 5 > 4 <b> $HOME `id` #1", "it-s-5-4-b-home-id-1"),
        ("x" * 60, "x" * 38),
    ],
)
def test_unusual_name_generates_a_valid_project(tmp_path: Path, name: str, slug: str) -> None:
    texts = {"project_name": name, "description": name, "author_name": name}
    done = run_cookiecutter(tmp_path, answers=texts)
    assert done.returncode == 0, done.stderr
    metadata = tomllib.loads((tmp_path / slug / "pyproject.toml").read_text())
    shown = name.replace("{{ '{{' }}", "{{")
    assert metadata["project"]["description"] == shown
    assert metadata["project"]["authors"][0]["name"] == shown
    package = slug.replace("-", "_")
    module = tmp_path / slug / "src" / package / "__init__.py"
    assert compile(module.read_text(), module, "exec").co_consts[0] == f"{shown}: {shown}"
    done = subprocess.run(
        [sys.executable, "-m", package, "check"], cwd=tmp_path / slug / "src", check=False,
        env={"API_TOKENS": f"me:{'s' * 32}", "APP_ENV": "test"}, capture_output=True, text=True,
    )  # fmt: skip
    assert "DATABASE_URL" in done.stderr
    assert done.stderr.count("\n") == 2


def test_prompts_ask_for_each_answer(tmp_path: Path) -> None:
    done = run_cookiecutter(tmp_path, typed="Typed Name\n" + "\n" * (len(PUBLIC) - 1))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "typed-name" / "src" / "typed_name").is_dir()
    for name in PUBLIC:
        prompt = CONTEXT["__prompts__"][name]
        question = prompt if isinstance(prompt, str) else prompt["__prompt__"]
        assert question.split(" (")[0] in " ".join(done.stdout.split())


def test_each_answer_has_a_prompt() -> None:
    prompts = CONTEXT["__prompts__"]
    assert list(prompts) == PUBLIC
    for name, choices in CHOICES.items():
        assert list(prompts[name]) == ["__prompt__", *choices]


def test_existing_directory_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "my-service").mkdir()
    (tmp_path / "my-service" / "mine").write_text("mine")
    with nothing_written(tmp_path):
        done = run_cookiecutter(tmp_path)
    assert done.returncode != 0
    assert "already exists" in done.stdout


def test_readme_lists_the_choices() -> None:
    """One row for each question with choices, one word for each choice."""
    table = re.findall(
        r"^\| [^|]+ \| ([^|]+ · [^|]+) \|$", (TEMPLATE / "README.md").read_text(), re.MULTILINE
    )
    assert [row.count(" · ") + 1 for row in table] == [len(each) for each in CHOICES.values()]
