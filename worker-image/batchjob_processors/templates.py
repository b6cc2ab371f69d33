"""Users' templates over an item's data, by minijinja: no access to Python, strict about names, stopped by fuel.

Fuel is what Jinja2's sandbox lacks: a template with a long loop is stopped after a fixed number of instructions
instead of holding the worker.
"""

from typing import Any, Final

from minijinja import Environment, TemplateError

from batchjob.worker import ConfigurationError, ErrorClass, Fail

FUEL: Final = 100_000  # instructions a rendering: a page of text takes hundreds, an endless loop is stopped in 11 ms
NAMES: Final = 80  # characters of the names that an item has: the status holds 256 of a message


class Templates:
    """The templates of one typed block, compiled once."""

    def __init__(self, block: str, **sources: str) -> None:
        """Compile each source under its field's name in the block; ConfigurationError for one that is no template."""
        self._block = block
        self._environment = Environment()
        self._environment.fuel = FUEL
        self._environment.undefined_behavior = "strict"
        self._environment.keep_trailing_newline = True
        for field, source in sources.items():
            try:
                self._environment.add_template(field, source)
            except TemplateError as error:
                raise ConfigurationError(f"{block}.{field} is not a template: {error.message}") from None

    def render(self, field: str, data: dict[str, Any]) -> str:
        """The text for one item; raises Fail (invalid-input) where the item lacks a name or the fuel runs out."""
        try:
            return self._environment.render_template(field, **data)
        except TemplateError as error:
            has = f"; the item has: {', '.join(data):.{NAMES}}" if error.kind == "UndefinedError" else ""
            said = f"{self._block}.{field}: {error.message}{has}"
            raise Fail(said, error_class=ErrorClass.INVALID_INPUT) from None
