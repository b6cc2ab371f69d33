"""Users' templates over an item's data, by minijinja: no access to Python, strict about names, stopped by fuel.

Fuel is what Jinja2's sandbox lacks: a template with a long loop is stopped after a fixed number of instructions
instead of holding the worker, and what one step makes counts by its length. It does not count what a list takes that
the template itself adds to itself forty times over, or the spaces of `tojson(indent=…)`: no item can bring that about
unless its author takes the indent from it, and it costs the author's own pod, like any worker that is lost. Whatever
is wrong is said with field, line and column.
"""

import re
from typing import Any, Final

from minijinja import Environment, TemplateError

from batchjob.worker import ConfigurationError, ErrorClass, Fail

FUEL: Final = 100_000  # instructions a rendering: a page of text takes hundreds, an endless loop is stopped in 11 ms
NAMES: Final = 80  # characters of the names that an item has: the status holds 256 of a message
_OUT_OF_FUEL: Final = f"takes more than {FUEL:,} steps: a loop in it is endless, or far too long"
_WHERE: Final = re.compile(r" \(in [^)]*\)$")  # the library appends the name of the template and the line


class Templates:
    """The templates of one typed block, compiled once. In fields named html, what an item inserts is escaped."""

    def __init__(self, block: str, **sources: str) -> None:
        """Compile each source under its field's name in the block; ConfigurationError for one that is no template."""
        self._block = block
        self._sources = sources
        self._environment = Environment()
        self._environment.fuel = FUEL
        self._environment.undefined_behavior = "strict"
        self._environment.keep_trailing_newline = True
        self._environment.auto_escape_callback = lambda field: field.endswith("html")
        for field, source in sources.items():
            try:
                self._environment.add_template(field, source)
            except TemplateError as error:
                raise ConfigurationError(
                    f"{block}.{field} is not a template: {self._place(field, error)}: {_said(error)}"
                ) from None

    def __contains__(self, field: str) -> bool:
        """Whether the block has a template of that field."""
        return field in self._sources

    def render(self, field: str, data: dict[str, Any]) -> str:
        """The text for one item; raises Fail (invalid-input) where the item lacks a name or the fuel runs out."""
        try:
            return self._environment.render_template(field, **data)
        except TemplateError as error:
            field = error.name if error.name in self._sources else field  # one may extend another, or take its macros
            has = f"; the item has: {', '.join(data):.{NAMES}}" if error.kind == "UndefinedError" else ""
            said = f"{self._block}.{field}, {self._place(field, error)}: {_said(error)}{has}"
            raise Fail(said, error_class=ErrorClass.INVALID_INPUT) from None

    def _place(self, field: str, error: TemplateError) -> str:
        line = error.line or 1
        text = self._sources[field].split("\n")[line - 1]
        column = text.find("{")  # out of fuel, the library knows the line alone: its first tag
        if error.range:
            before = self._sources[field].encode()[: error.range[0]].decode(errors="ignore")
            column = len(before) - before.rfind("\n") - 1
        return f"line {line}, column {max(column, 0) + 1}"


def _said(error: TemplateError) -> str:
    return _OUT_OF_FUEL if error.kind == "OutOfFuel" else _WHERE.sub("", error.message)
