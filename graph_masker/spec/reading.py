"""Reads a spec's mapping from a file: JSON, or YAML 1.2's core schema, and no key twice.

PyYAML follows YAML 1.1, where ``2:4`` is the number 124, ``1e-3`` a text and ``0100`` the number 64. No one
who writes a spec means that, and editors do not show it, so numbers and truth values are read as YAML 1.2 has them.
"""

import json
import re
from typing import Any, ClassVar, Dict, Hashable, List, Tuple

import yaml

from graph_masker.errors import SpecError


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # untyped, as mypy is told to take yaml
    """SafeLoader with the scalars of YAML 1.2's core schema."""

    # A copy without the resolvers of the base class, which are of YAML 1.1.
    yaml_implicit_resolvers: ClassVar[Dict[str, List[Any]]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> Dict[Hashable, Any]:
        """Refuses a key that is there twice: one of the two values would be lost in silence."""
        seen = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is there twice", key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        return dict(super().construct_mapping(node, deep=deep))


def _number_resolvers() -> None:
    for tag, pattern, first in (
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        ("int", r"[-+]?[0-9]+", list("-+0123456789")),
        (
            "float",
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
            list("-+0123456789."),
        ),
        ("merge", r"<<", ["<"]),
    ):
        _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"(?:{pattern})\Z"), first)
    _Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))


_number_resolvers()


def read_mapping(path: str) -> Dict[Any, Any]:
    """Returns the one mapping that a YAML or JSON file holds.

    Args:
        path: JSON where it ends in ``.json``, YAML otherwise.

    Raises:
        SpecError: the file cannot be read or holds something else; the message names the file.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise SpecError(f"{path}: cannot be read as a spec: {reason}") from error
    try:
        values = json.loads(text, object_pairs_hook=_without_twins) if path.endswith(".json") else parse_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise SpecError(f"{path}: expected one YAML or JSON mapping: {reason}") from error
    if not isinstance(values, dict):
        raise SpecError(f"{path}: expected one mapping of spec keys, found {type(values).__name__}")
    return values


def parse_yaml(text: str) -> Any:
    """Returns the plain value that a YAML text stands for."""
    return yaml.load(text, Loader=_Loader)


def parse_option(name: str, text: str) -> Any:
    """Returns the plain value that the text of a command line's option stands for, as in a YAML file.

    Raises:
        SpecError: the text is not YAML; the message names the option.
    """
    try:
        return parse_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{name}: expected text such as 2:4 or 'block: [4, 1]', found {text!r}") from error


def _without_twins(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    values: Dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"key '{key}' is there twice")
        values[key] = value
    return values
