from sollol.discovery import discover_ollama_nodes
nodes = discover_ollama_nodes(timeout=0.5, exclude_localhost=False, auto_resolve_docker=True, discover_all_nodes=True)
# -> [{"host": "10.9.66.154", "port": "11434"}, …]   (port is a string)
