"""Tasks on a local Ray cluster of two node processes, while a worker, the pool's process and a driver are killed."""

import os
import signal
import subprocess
import sys
import tempfile
import unittest

import clusters

DRIVER = """
import sys, ray
from sollol import OllamaPool
from sollol.execution import execute_parallel
ray.init(address=sys.argv[1], log_to_driver=False)
pool = OllamaPool(nodes=[{"url": url, "slots": 1} for url in sys.argv[2:]])
print("runs", flush=True)
execute_parallel([{"model": "slow", "prompt": "Hello", "options": {"num_predict": 1000}}] * 4, pool, "ray")
"""


def dies_once(marker):
    def task(pool):
        if not os.path.exists(marker):
            open(marker, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return pool.generate("llama3.2", "Hello").done

    return task


class OnRay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        import ray
        from ray.cluster_utils import Cluster
        from sollol import OllamaPool

        cls.folder = tempfile.TemporaryDirectory()
        cls.nodes = clusters.Nodes(cls.folder.name)
        size = {"num_cpus": 2, "object_store_memory": 100 << 20, "node_ip_address": "127.0.0.1"}
        cls.cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
        cls.cluster.add_node(**size)
        ray.init(address=cls.cluster.address, log_to_driver=False)
        assert len(ray.nodes()) == 2
        cls.pool = OllamaPool(nodes=[{"url": url, "slots": 1} for url in cls.nodes.urls])

    @classmethod
    def tearDownClass(cls):
        import ray

        ray.shutdown()
        cls.cluster.shutdown()
        cls.nodes.stop()
        cls.folder.cleanup()

    def run_tasks(self, tasks, **arguments):
        from sollol.execution import execute_parallel

        return execute_parallel(tasks, self.pool, **arguments)

    def test_requests_and_functions_share_one_admission(self):
        tasks = [{"model": "llama3.2", "prompt": "Hello"}] * 20
        tasks += [lambda pool: (os.getpid(), pool.generate("llama3.2", "Hello").done)] * 20
        tasks += [{"model": "none", "prompt": "Hello"}, lambda pool: 1 / 0]
        results = self.run_tasks(tasks)  # engine="auto": this program is connected to Ray
        self.assertTrue(all(result.get().done for result in results[:20]))
        self.assertNotIn(os.getpid(), {result.get()[0] for result in results[20:40]})
        self.assertEqual([type(result.error).__name__ for result in results[40:]],
                         ["ModelNotFound", "ZeroDivisionError"])
        self.assertEqual(self.nodes.counts("max_in_flight"), [1, 1])

    def test_a_worker_that_is_killed_is_made_up_for(self):
        marker = os.path.join(self.folder.name, "died")
        results = self.run_tasks([dies_once(marker), *[lambda pool: pool.generate("llama3.2", "x").done] * 10],
                                 engine="ray")
        self.assertTrue(all(result.get() for result in results))
        self.assertTrue(os.path.exists(marker))

    def test_the_pools_process_is_killed_and_comes_back(self):
        def kill(pool):
            for process in clusters.processes("ray::PoolHolder"):
                os.kill(process, signal.SIGKILL)
            return True

        slow = {"model": "slow", "prompt": "Hello", "options": {"num_predict": 5}}
        results = self.run_tasks([slow, kill, slow, slow], engine="ray")
        self.assertTrue(all(result.ok for result in results), results)

    def test_a_driver_that_is_killed_leaves_no_work_behind(self):
        driver = subprocess.Popen([sys.executable, "-c", DRIVER, self.cluster.address, *self.nodes.urls],
                                  stdout=subprocess.PIPE, text=True)
        self.assertEqual(driver.stdout.readline(), "runs\n")
        clusters.eventually(lambda: sum(self.nodes.counts("in_flight")) > 0)
        driver.kill()
        driver.communicate()
        clusters.eventually(lambda: sum(self.nodes.counts("in_flight")) == 0)
        self.assertTrue(self.run_tasks([{"model": "llama3.2", "prompt": "Hello"}], engine="ray")[0].get().done)


if __name__ == "__main__":
    clusters.enter()
    unittest.main(verbosity=1)
