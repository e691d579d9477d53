from sollol.pool import OllamaPool
pool = OllamaPool(nodes=[{"host": "10.9.66.154", "port": "11434"}], app_name="My Application", register_with_dashboard=True)
pool.count_unique_physical_hosts()                    # -> int
pool.should_use_parallel_execution(num_tasks=3)       # -> bool
