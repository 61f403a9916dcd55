"""FlowScript: `.flow.md` files, read into the same checked values as YAML, which the same compiler turns into the same graph."""
