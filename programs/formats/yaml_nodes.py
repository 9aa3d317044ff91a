"""YAML as nodes that know their line, refused when it would grow beyond measure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from .draft import FormatError, Source

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MERGE = "tag:yaml.org,2002:merge"
MOST_NODES = 200_000
DEEPEST = 50


def compose(source: Source) -> Node | None:
    """The one document of the text, None when it is empty. Raises FormatError."""
    node: Node | None = None
    try:
        # Composing recurses in C, where too deep a text ends the whole process; walking the events does not.
        depth = _depth(yaml.parse(source.text, Loader=LOADER))
        if depth <= DEEPEST:
            node = yaml.compose(source.text, Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        raise _no_yaml(error, source) from error
    except yaml.YAMLError as error:
        raise source.error(f"this is no YAML: {error}") from error
    if depth > DEEPEST:
        raise source.error(f"nested deeper than {DEEPEST} levels")
    if node is not None and _size(node, {}, 0) > MOST_NODES:
        raise source.error("its aliases (*name) unfold into too much, or into themselves")
    return node


def _depth(events: Iterable[yaml.Event]) -> int:
    deepest = depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        deepest = max(deepest, depth)
        if deepest > DEEPEST:
            break
    return deepest


def construct(node: Node | None, source: Source) -> Any:
    """Plain Python values, as YAML's own rules read them. Raises FormatError."""
    try:
        return None if node is None else yaml.SafeLoader("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _no_yaml(error, source) from error
    except ValueError as error:  # a date that is none
        raise source.error(f"this is no YAML: {error}") from error


def _no_yaml(error: yaml.MarkedYAMLError, source: Source) -> FormatError:
    at = error.problem_mark.line + 1 if error.problem_mark else None
    return source.error(f"this is no YAML: {error.problem or error.context}", at)


def _size(node: Node, known: dict[int, int], depth: int) -> int:
    """How many values the node unfolds into. A node inside itself, or one too deep, counts as too many."""
    if depth > DEEPEST:
        return MOST_NODES + 1
    if id(node) not in known:
        known[id(node)] = MOST_NODES + 1
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
    """Key → value. `<<: *name` gives what the mapping itself does not say. Raises FormatError for a key twice."""
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
            raise source.error(f"{key.value!r} stands twice", line(key))
        own[str(key.value)] = value
    return {**merged, **own}


def _merged(base: Node, source: Source) -> dict[str, Node]:
    if not isinstance(base, MappingNode):
        raise source.error("<< needs a mapping", line(base))
    return pairs(base, source)
