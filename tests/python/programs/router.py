from sollol.ray_hybrid_router import RayHybridRouter
router = RayHybridRouter(ollama_pool=pool, rpc_backends=[{"host": "10.9.66.154", "port": 50052}],
                         coordinator_host="127.0.0.1", coordinator_port=18080)
