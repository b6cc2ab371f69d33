"""Test equipment: stand-ins for the world outside a BatchJob. Never part of an installation; see ../README.md."""
