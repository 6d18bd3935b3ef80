"""Read settings from the process environment, dotenv files, secret files and credentials.

The process environment wins over files. An empty value counts as not set. Every problem is
collected, and no problem quotes a secret:

    development, test   `.env`, then `.env.<APP_ENV>`, in the working directory
    production          only the file that ENV_FILE names
    a secret NAME       also the file that NAME_FILE names, or the systemd credential NAME
                        (https://systemd.io/CREDENTIALS/); two sources at once are an error
"""

import difflib
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin

import msgspec
from dotenv.parser import parse_stream

from .startup import StartupProblem

__all__ = [
    "AppEnv",
    "RawValue",
    "SettingsReader",
    "format_value",
    "kinds_in",
    "parse_settings",
]

AppEnv = Literal["development", "test", "production"]
SettingsT = TypeVar("SettingsT", bound=msgspec.Struct)

ENVIRONMENT_ONLY = frozenset({"APP_ENV", "ENV_FILE"})


class RawValue(NamedTuple):
    """The text of a setting, and where it was read."""

    text: str
    source: str


class SettingsReader:
    """The raw values of the settings `names`, each with its source.

    `secrets` are the names that may also come from a file or a credential, `defaults` the values
    of each APP_ENV, and `renamed` maps former names, which still work, to the present ones.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        names: Collection[str],
        secrets: Collection[str],
        defaults: Mapping[AppEnv, Mapping[str, str]],
        renamed: Mapping[str, str],
    ) -> None:
        self.problems: list[StartupProblem] = []
        self.warnings: list[StartupProblem] = []
        self._environ = environ
        self._secrets = frozenset(secrets)
        self._known = {*names, *renamed, *(f"{secret}_FILE" for secret in secrets)}
        self.app_env = self._read_app_env()
        self._values: dict[str, RawValue] = {}
        for path in self._dotenv_files():
            self._values.update(self._read_dotenv(path))
        for name in self._known & environ.keys():
            if environ[name]:
                self._values[name] = RawValue(environ[name], "environment")
        for former, name in renamed.items():
            self._rename(former, name)
        for secret in secrets:
            self._load_secret(secret)
        for name, text in defaults.get(self.app_env, {}).items():
            if name not in self:
                self._values[name] = RawValue(text, f"default in {self.app_env}")

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> RawValue:
        return self._values[name]

    def __setitem__(self, name: str, value: RawValue) -> None:
        self._values[name] = value

    def is_secret(self, name: str) -> bool:
        return name in self._secrets

    def remedy(self, name: str) -> str:
        """Return how to set a setting."""
        file = next(iter(self._dotenv_files()), "the file that ENV_FILE names")
        if not self.is_secret(name):
            return f"set it in {file} or in the environment"
        return f"set it in {file}, in the environment, in the file that {name}_FILE names, or as a systemd credential"

    def _problem(self, setting: str, reason: str, source: str = "environment") -> None:
        self.problems.append(StartupProblem(setting, reason, source))

    def _read_app_env(self) -> AppEnv:
        text = self._environ.get("APP_ENV") or "production"
        for app_env in get_args(AppEnv):
            if text == app_env:
                return app_env  # type: ignore[no-any-return]
        self._problem("APP_ENV", f"{text!r} is not one of {', '.join(get_args(AppEnv))}")
        return "production"

    def _dotenv_files(self) -> list[Path]:
        if self.app_env == "production":
            named = self._environ.get("ENV_FILE")
            return [Path(named)] if named else []
        return [Path(".env"), Path(f".env.{self.app_env}")]

    def _read_text(self, path: Path, setting: str, source: str, required: bool = True) -> str:
        """Return the file's text; report a file that is missing only if it is required."""
        try:
            return path.read_text(encoding="utf-8-sig")
        except OSError as error:
            if required or not isinstance(error, FileNotFoundError):
                self._problem(setting, f"cannot read {path}: {error.strerror}", source)
        except UnicodeDecodeError:
            self._problem(setting, f"{path} is not UTF-8 text", source)
        return ""

    def _read_dotenv(self, path: Path) -> dict[str, RawValue]:
        values: dict[str, RawValue] = {}
        required = self.app_env == "production"
        text = self._read_text(path, "ENV_FILE" if required else "", str(path), required)
        for name, value, original, error in parse_stream(io.StringIO(text)):
            # The parser's line number is that of the empty lines before the entry.
            empty = len(original.string) - len(original.string.lstrip())
            line = original.line + original.string[:empty].count("\n")
            source = f"{path} line {line}"
            if error or (name is not None and value is None):
                self._problem("", "is not of the form NAME=value", source)
            elif name is None or value is None:
                continue
            elif name in ENVIRONMENT_ONLY:
                self._problem(name, "is read from the process environment only", source)
            elif name not in self._known:
                close = difflib.get_close_matches(name, self._known, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                self._problem(name, f"is not a setting of this service{hint}", source)
            elif not value:
                continue
            elif name in values:
                self._problem(name, f"is set twice; first at {values[name].source}", source)
            else:
                values[name] = RawValue(value, source)
        return values

    def _rename(self, former: str, name: str) -> None:
        value = self._values.pop(former, None)
        if value is None:
            return
        if name in self:
            self._problem(former, f"is the former name of {name}, which is set too", value.source)
            return
        reason = f"is now called {name}; rename it, because the former name will stop working"
        self.warnings.append(StartupProblem(former, reason, value.source))
        self._values[name] = value

    def _load_secret(self, name: str) -> None:
        values = [self._values[name]] if name in self else []
        if f"{name}_FILE" in self:
            path, source = self._values[f"{name}_FILE"]
            text = self._read_text(Path(path), f"{name}_FILE", source).strip()
            values.append(RawValue(text, f"{name}_FILE={path}"))
        if directory := self._environ.get("CREDENTIALS_DIRECTORY"):
            credential = Path(directory, name)
            text = self._read_text(credential, name, "credential", required=False).strip()
            values.append(RawValue(text, f"credential {name}"))
        values = [value for value in values if value.text]
        if len(values) > 1:
            sources = " and ".join(value.source for value in values)
            self._problem(name, "is set more than once; keep one source", sources)
        if values:
            self._values[name] = values[0]


def parse_settings(
    kind: type[SettingsT], reader: SettingsReader, **known: Any
) -> tuple[SettingsT, list[StartupProblem]]:
    """Return the settings and all problems.

    An invalid setting has its default. A setting without a default is required, and is None if it
    is invalid or missing.
    """
    problems = list(reader.problems)
    values = dict(known)
    for field in msgspec.structs.fields(kind):
        name = field.name.upper()
        if field.name in known:
            continue
        if field.required:
            values[field.name] = None
        if name in reader:
            text, source = reader[name]
            try:
                values[field.name] = _parse_value(text, field.type)
            except ValueError as error:
                reason = _mask(str(error), text) if reader.is_secret(name) else str(error)
                problems.append(StartupProblem(name, reason, source))
        elif field.required and not {name, f"{name}_FILE"} & {one.setting for one in problems}:
            problems.append(StartupProblem(name, f"required; {reader.remedy(name)}"))
    return kind(**values), problems


def _mask(reason: str, secret: str) -> str:
    """Return the reason without the secret, which a type's own `parse` may quote."""
    parts = {secret, *(part.strip() for part in secret.split(","))}
    for part in sorted(parts, key=len, reverse=True):
        reason = reason.replace(repr(part), "***")
        if len(part) >= 4:  # a shorter one may also be a word of the reason
            reason = reason.replace(part, "***")
    return reason


def kinds_in(kind: Any) -> Iterator[Any]:
    """Yield the type and all types in it: of `X | None`, `list[X]`, `Annotated[X, Meta(...)]`."""
    yield kind
    for one in get_args(kind):
        yield from kinds_in(one)


def format_value(value: object) -> str:
    """Return the text that is parsed as this value, for .env.example; "" if there is no such text."""
    match value:
        case Enum():
            return format_value(value.value)
        case bool():
            return str(value).lower()
        case timedelta():
            return f"{value.total_seconds():g}"
        case list() | tuple():
            return ",".join(map(format_value, value))
        case str() | int() | float() | PurePath():
            return str(value)
    return ""


def _parse_value(text: str, kind: Any) -> Any:
    """Return the value of that type: by the type's own `parse`, or by msgspec's rules for text.

    Raises ValueError, whose message quotes no text of a type that may hold a secret.
    """
    kinds = list(kinds_in(kind))
    lists = [one for one in kinds if (get_origin(one) or one) in (list, tuple, set, frozenset)]
    value: Any = text
    try:
        if lists:
            parts = [part.strip() for part in text.split(",")]
            (item, *_) = get_args(lists[0]) or (str,)
            value = [_parse_value(part, item) for part in parts if part]
        elif parsers := [one for one in kinds if hasattr(one, "parse")]:
            for meta in (one for one in kinds if isinstance(one, msgspec.Meta)):
                msgspec.convert(text, Annotated[str, meta])
            return parsers[0].parse(text)
        elif timedelta in kinds and not text.startswith("P"):  # not of ISO 8601
            value = _seconds(text)
        return msgspec.convert(value, kind, strict=False, dec_hook=_convert)
    except msgspec.ValidationError as error:
        raise ValueError(_reason(text, kinds, str(error))) from None


def _convert(kind: Any, value: Any) -> Any:
    """Return a value of a type that msgspec does not know: a path, or one that `parse` has made."""
    return value if isinstance(value, kind) else kind(value)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", text)
    if match is None:
        raise msgspec.ValidationError
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def _reason(text: str, kinds: Collection[Any], error: str) -> str:
    """Return why the text is not of this type, and what is."""
    if choices := [str(choice) for one in kinds for choice in _choices(one)]:
        return f"{text!r} is not one of {', '.join(choices)}"
    if bool in kinds:
        expected = "expected true or false"
    elif timedelta in kinds:
        expected = "expected a duration: seconds, or a number with s, m, h or d, such as 15m"
    else:
        # "Expected `int | null`, got `str`"
        expected = re.sub(r", got `str`| \| null|`", "", error)
        expected = expected[:1].lower() + expected[1:]
    if any(one is str or hasattr(one, "parse") for one in kinds):
        return f"is invalid: {expected}"  # do not quote what may be a secret
    return f"{text!r} is invalid: {expected}"


def _choices(kind: Any) -> Iterable[Any]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [member.value for member in kind]
    return ()
