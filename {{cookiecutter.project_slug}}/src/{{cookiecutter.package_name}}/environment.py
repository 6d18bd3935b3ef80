"""Where settings come from: the process environment, dotenv files, secret files, credentials.

The environment wins over files, and a blank value is none, wherever it stands. Every problem is
collected, and none quotes a secret:

    development, test   `.env`, then `.env.<APP_ENV>`, of the working directory
    production          only the file that ENV_FILE names
    a secret NAME       also the file that NAME_FILE names, or the systemd credential NAME
                        (https://systemd.io/CREDENTIALS/); two at once are an error
"""

import difflib
import io
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin

import msgspec
from dotenv.parser import parse_stream

Environment = Literal["development", "test", "production"]
Settings = TypeVar("Settings", bound=msgspec.Struct)

PROCESS_ONLY = frozenset({"APP_ENV", "ENV_FILE"})


class Problem(NamedTuple):
    """One reason why the service must not start. `setting` is empty where none is to blame."""

    setting: str
    text: str
    where: str = ""

    def __str__(self) -> str:
        if not self.setting:
            return f"{self.where}: {self.text}"
        place = f" ({self.where})" if self.where else ""
        return f"{self.setting}{place}: {self.text}"


class BootError(Exception):
    """The service must not start; `problems` holds every reason that was found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(map(str, self.problems)))


class Secret:
    """A text that neither a log line nor a traceback shows."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"


class Found(NamedTuple):
    text: str
    where: str


class Sources:
    """The texts of the settings `names`, looked up once, with the place each was found at."""

    def __init__(
        self,
        environ: Mapping[str, str],
        names: Collection[str],
        secrets: Collection[str],
        defaults: Mapping[Environment, Mapping[str, str]],
    ) -> None:
        self.problems: list[Problem] = []
        self._environ = environ
        self._known = {*names, *(f"{secret}_FILE" for secret in secrets)}
        self.environment = self._environment()
        self._found: dict[str, Found] = {}
        for path in self._files():
            self._found.update(self._read_file(path))
        for name in self._known & environ.keys():
            if environ[name]:
                self._found[name] = Found(environ[name], "environment")
        for secret in secrets:
            self._find_secret(secret)
        for name, text in defaults[self.environment].items():
            if name not in self:
                self._found[name] = Found(text, f"default in {self.environment}")

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def __getitem__(self, name: str) -> Found:
        return self._found[name]

    def __setitem__(self, name: str, found: Found) -> None:
        self._found[name] = found

    def _problem(self, setting: str, text: str, where: str = "environment") -> None:
        self.problems.append(Problem(setting, text, where))

    def _environment(self) -> Environment:
        text = self._environ.get("APP_ENV") or "production"
        for environment in get_args(Environment):
            if text == environment:
                return environment  # type: ignore[no-any-return]
        self._problem("APP_ENV", f"{text!r} is not one of {', '.join(get_args(Environment))}")
        return "production"

    def _files(self) -> list[Path]:
        if self.environment == "production":
            named = self._environ.get("ENV_FILE")
            return [Path(named)] if named else []
        return [Path(".env"), Path(f".env.{self.environment}")]

    def _read_text(self, path: Path, setting: str, where: str, named: bool = True) -> str:
        """Return what the file holds; only one that nobody has named may be missing."""
        try:
            return path.read_text(encoding="utf-8-sig")
        except OSError as error:
            if named or not isinstance(error, FileNotFoundError):
                self._problem(setting, f"cannot read {path}: {error.strerror}", where)
        except UnicodeDecodeError:
            self._problem(setting, f"{path} is not UTF-8 text", where)
        return ""

    def _read_file(self, path: Path) -> dict[str, Found]:
        found: dict[str, Found] = {}
        named = self.environment == "production"
        text = self._read_text(path, "ENV_FILE" if named else "", str(path), named)
        for name, value, original, error in parse_stream(io.StringIO(text)):
            # The parser counts from the blank lines before an entry on.
            blank = len(original.string) - len(original.string.lstrip())
            where = f"{path} line {original.line + original.string[:blank].count(chr(10))}"
            if error or (name is not None and value is None):
                self._problem("", "is not of the form NAME=value", where)
            elif name is None or value is None:
                continue
            elif name in PROCESS_ONLY:
                self._problem(name, "is taken from the process environment only", where)
            elif name not in self._known:
                close = difflib.get_close_matches(name, self._known, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                self._problem(name, f"is not a setting of this service{hint}", where)
            elif not value:
                continue
            elif name in found:
                self._problem(name, f"is set twice; first at {found[name].where}", where)
            else:
                found[name] = Found(value, where)
        return found

    def _find_secret(self, name: str) -> None:
        places = [self._found[name]] if name in self else []
        if f"{name}_FILE" in self:
            path, where = self._found[f"{name}_FILE"]
            text = self._read_text(Path(path), f"{name}_FILE", where).strip()
            places.append(Found(text, f"{name}_FILE={path}"))
        if directory := self._environ.get("CREDENTIALS_DIRECTORY"):
            text = self._read_text(Path(directory, name), name, "credential", named=False).strip()
            places.append(Found(text, f"credential {name}"))
        places = [place for place in places if place.text]
        if len(places) > 1:
            self._problem(name, "is given more than once", " and ".join(p.where for p in places))
        if places:
            self._found[name] = places[0]


def read(kind: type[Settings], sources: Sources, **known: Any) -> tuple[Settings, list[Problem]]:
    """Make the settings object; a setting in error has its default there and is in the problems."""
    problems = list(sources.problems)
    values = dict(known)
    for field in msgspec.structs.fields(kind):
        name = field.name.upper()
        if field.name in known or name not in sources:
            continue
        text, where = sources[name]
        try:
            values[field.name] = _convert(text, field.type)
        except ValueError as error:
            problems.append(Problem(name, str(error), where))
    return kind(**values), problems


def _convert(text: str, kind: Any) -> Any:
    """Turn text into the type: by its own `parse`, or by msgspec's rules for text.

    Raises ValueError, whose message quotes the text only for types without a `parse`.
    """
    if hasattr(kind, "parse"):
        return kind.parse(text)
    if get_origin(kind) is Literal and text not in get_args(kind):
        raise ValueError(f"{text!r} is not one of {', '.join(get_args(kind))}")
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{text!r} is wrong: {str(error).replace('`', '').lower()}") from None
