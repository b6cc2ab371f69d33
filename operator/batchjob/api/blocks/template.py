"""Templates that a user writes."""

from typing import Annotated

from pydantic import Field

Template = Annotated[str, Field(min_length=1, max_length=16384)]  # minijinja over the item's data
