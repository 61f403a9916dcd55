"""A workflow file in the other language, or in its own with every duration's unit."""
