"""The registry under the name that programs import it by."""

from sollol.registry import Capabilities, Metrics, Node, NodeRegistry

__all__ = ["Capabilities", "Metrics", "Node", "NodeRegistry"]
