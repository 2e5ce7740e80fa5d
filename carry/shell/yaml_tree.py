"""YAML text -> a tree of texts with their lines. What values mean is decided elsewhere, by key.

Of YAML only what a settings file needs is let in: one document of mappings, lists and values.
Anchors (which can blow up a small file), tags (which can make objects) and deep nesting are refused
by line.
"""

import attrs
import yaml

from .scalars import looks_secret, shown

DEPTH_MAX = 8


class NotATree(Exception):
    """The text cannot be used. `line` counts from 1."""

    def __init__(self, line: int, clause: str) -> None:
        super().__init__(clause)
        self.line = line
        self.clause = clause


@attrs.frozen
class Scalar:
    """A value as it stands in the file. quoted: in quotes, or a block of text."""

    line: int
    text: str
    quoted: bool = False


@attrs.frozen
class Listing:
    """A list: a line with a dash each, or in square brackets."""

    line: int
    items: "list[Node]" = attrs.field(factory=list)


@attrs.frozen
class Mapping:
    """Keys and values in the order of the file; a key given twice is there twice."""

    line: int
    entries: "list[tuple[Scalar, Node]]" = attrs.field(factory=list)


Node = Scalar | Listing | Mapping


def grow(text: str) -> Node | None:
    """The tree of `text`; None if there is nothing in it.

    Raises:
        NotATree: not YAML, or more of YAML than belongs in a settings file.
    """
    try:
        return _grow(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(str(word) for word in (error.context, error.problem) if word)
        raise NotATree(
            mark.line + 1 if mark else 1, f"is not YAML: {' '.join(said.split())}"
        ) from None
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position if isinstance(position, int) else 0) + 1
        raise NotATree(line, "holds a character that text files do not have") from None


def _grow(text: str) -> Node | None:
    root: Node | None = None
    documents = 0
    open_nodes: list[Listing | Mapping] = []
    keys: list[Scalar | None] = []  # of each open mapping: the key that waits for its value

    def put(node: Node) -> None:
        nonlocal root
        if not open_nodes:
            root = node
            return
        parent = open_nodes[-1]
        if isinstance(parent, Listing):
            parent.items.append(node)
        elif keys[-1] is not None:
            parent.entries.append((keys[-1], node))
            keys[-1] = None
        elif isinstance(node, Scalar):
            keys[-1] = node
        else:
            raise NotATree(node.line, "has a key that is not a word")

    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise NotATree(line, "begins a second document (---): keep one")
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise NotATree(
                line, "uses an anchor or alias (& or *): write the value out where it is needed"
            )
        elif tag := getattr(event, "tag", None):
            raise NotATree(line, f"uses a tag ({shown(str(tag))}): write the plain value")
        elif isinstance(event, yaml.ScalarEvent):
            if looks_secret(event.value):
                key = keys[-1] if keys else None
                raise NotATree(
                    line,
                    (f"{shown(key.text)}: " if key else "")
                    + "holds what looks like a secret (not shown). It never stands in this file: "
                    "write where it is, as in agent_key: {env: CARRY_AGENT_KEY}, and replace the "
                    "one that stood here",
                )
            put(Scalar(line, event.value, quoted=event.style is not None))
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            node = Mapping(line) if isinstance(event, yaml.MappingStartEvent) else Listing(line)
            put(node)
            open_nodes.append(node)
            keys.append(None)
            if len(open_nodes) > DEPTH_MAX:
                raise NotATree(line, f"is nested deeper than {DEPTH_MAX} levels")
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            open_nodes.pop()
            keys.pop()
    return root
