"""Parses YAML into nodes with line numbers; refuses documents that expand too much (YAML bombs)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from .draft import FormatError, Source

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MERGE = "tag:yaml.org,2002:merge"
MAX_NODES = 200_000
MAX_DEPTH = 50


def compose(source: Source) -> Node | None:
    node: Node | None = None
    try:
        # Composing recurses in C, and deep nesting would crash the process; parsing events does not recurse.
        depth = _depth(yaml.parse(source.text, Loader=LOADER))
        if depth <= MAX_DEPTH:
            node = yaml.compose(source.text, Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        raise _yaml_error(error, source) from error
    except yaml.YAMLError as error:
        raise source.error(f"invalid YAML: {error}") from error
    if depth > MAX_DEPTH:
        raise source.error(f"nested deeper than {MAX_DEPTH} levels")
    if node is not None and _size(node, {}, 0) > MAX_NODES:
        raise source.error("its aliases (*name) expand too much or refer to themselves")
    return node


def _depth(events: Iterable[yaml.Event]) -> int:
    deepest = depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        deepest = max(deepest, depth)
        if deepest > MAX_DEPTH:
            break
    return deepest


def construct(node: Node | None, source: Source) -> Any:
    """Plain Python values by the rules of YAML. Raises FormatError."""
    try:
        return None if node is None else yaml.SafeLoader("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _yaml_error(error, source) from error
    except ValueError as error:  # an invalid date
        raise source.error(f"invalid YAML: {error}") from error


def _yaml_error(error: yaml.MarkedYAMLError, source: Source) -> FormatError:
    at = error.problem_mark.line + 1 if error.problem_mark else None
    return source.error(f"invalid YAML: {error.problem or error.context}", at)


def _size(node: Node, known: dict[int, int], depth: int) -> int:
    """The number of values after expanding aliases; above MAX_NODES for a recursive or too deep node."""
    if depth > MAX_DEPTH:
        return MAX_NODES + 1
    if id(node) not in known:
        known[id(node)] = MAX_NODES + 1  # found again during its own expansion: the node contains itself
        known[id(node)] = 1 + sum(_size(child, known, depth + 1) for child in _children(node))
    return known[id(node)]


def _children(node: Node) -> Iterator[Node]:
    if isinstance(node, SequenceNode):
        yield from node.value
    if isinstance(node, MappingNode):
        for pair in node.value:
            yield from pair


def line(node: Node) -> int:
    return node.start_mark.line + 1


def pairs(node: MappingNode, source: Source) -> dict[str, Node]:
    """Key → value, including merged ones (`<<: *name`). Raises FormatError for a duplicate key."""
    own: dict[str, Node] = {}
    merged: dict[str, Node] = {}
    for key, value in node.value:
        if key.tag == MERGE:
            for base in value.value if isinstance(value, SequenceNode) else [value]:
                merged = {**_merged(base, source), **merged}
            continue
        if not isinstance(key, ScalarNode):
            raise source.error("a key must be a text", line(key))
        if key.value in own:
            raise source.error(f"duplicate key {key.value!r}", line(key))
        own[str(key.value)] = value
    return {**merged, **own}


def _merged(base: Node, source: Source) -> dict[str, Node]:
    if not isinstance(base, MappingNode):
        raise source.error("<< needs a mapping", line(base))
    return pairs(base, source)
