"""Reading of XML that others wrote: documents that declare entities are refused.

An entity may stand for another file, or for gigabytes. Nothing here knows microscopes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Never
from xml.etree.ElementTree import Element, TreeBuilder, XMLParser

_READ_BYTES = 1 << 20


def _refuse(*_: object) -> Never:
    raise ValueError("its XML has a document type, which may hide other files")


class _Builder(TreeBuilder):
    doctype = staticmethod(_refuse)


def parse_xml(text: str | bytes) -> Element:
    """Return the root of a document, as ElementTree does."""
    parser = XMLParser(target=_Builder())
    parser.feed(text)
    root: Element = parser.close()
    return root


class _Collector:
    """Collects flat records while a parser reads; used by `iter_records`."""

    def __init__(self, tags: Collection[str]) -> None:
        self.tags, self.text = tags, ""
        self.done: list[dict[str, str]] = []
        self.open: dict[str, str] | None = None

    doctype = staticmethod(_refuse)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.text, name = "", _local(tag)
        found = {_local(key): value for key, value in attributes.items()}
        if name in self.tags:
            self.open = found
        elif self.open is not None:
            self.open |= {f"{name} {key}": value for key, value in found.items()}

    def data(self, text: str) -> None:
        self.text += text

    def end(self, tag: str) -> None:
        if self.open is None:
            return
        if _local(tag) in self.tags:
            self.done.append(self.open)
            self.open = None
        else:
            self.open[_local(tag)] = self.text.strip()

    def close(self) -> None:
        pass


def iter_records(path: Path, tags: Collection[str]) -> Iterator[dict[str, str]]:
    """Yield the elements with these tags; such a file may have a million of them.

    A record has the element's attributes, the texts of its children by tag, and their
    attributes by tag and name, as in ``PositionX Unit``. Name spaces are left out.
    """
    collector = _Collector(tags)
    parser = XMLParser(target=collector)
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            parser.feed(block)
            yield from collector.done
            collector.done.clear()
    parser.close()
    yield from collector.done


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
