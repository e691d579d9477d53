from node_registry import NodeRegistry
registry = NodeRegistry()                      # NodeRegistry(auto_discover=True) discovers at once
registry.discover_and_add_nodes(timeout=0.5)   # -> number of nodes added
registry.load_config("~/.synapticllamas_nodes.json"); registry.save_config("~/.synapticllamas_nodes.json")
registry.add_node("http://gpu-node:11434", name="additional-node", priority=0, auto_probe=True)
for url, node in registry.nodes.items(): print(url, node.name, node.priority)
