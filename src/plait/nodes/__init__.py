"""The leaf nodes of FlowScript: sources, transforms and sinks, each a class of its own behind a registry that users extend."""

from plait.nodes.base import At, Field, FieldKind, Node, duration, given
from plait.nodes.registry import node, node_names, node_type

__all__ = ["At", "Field", "FieldKind", "Node", "duration", "given", "node", "node_names", "node_type"]
