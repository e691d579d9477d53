"""Tasks on a Dask LocalCluster, while a worker, the pool's process and a driver are killed."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

import clusters

DRIVER = """
import sys, distributed
from sollol import OllamaPool
from sollol.execution import execute_parallel
client = distributed.Client(sys.argv[1])
pool = OllamaPool(nodes=[{"url": url, "slots": 1} for url in sys.argv[2:]])
print("runs", flush=True)
execute_parallel([{"model": "slow", "prompt": "Hello", "options": {"num_predict": 1000}}] * 4, pool, "dask")
"""


def dies_once(marker):
    def task(pool):
        if not os.path.exists(marker):
            open(marker, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return pool.generate("llama3.2", "Hello").done

    return task


class OnDask(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        import distributed
        from sollol import OllamaPool

        cls.folder = tempfile.TemporaryDirectory()
        cls.nodes = clusters.Nodes(cls.folder.name)
        cls.cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=2, host="127.0.0.1",
                                               dashboard_address=None, local_directory=cls.folder.name)
        cls.client = distributed.Client(cls.cluster)
        cls.pool = OllamaPool(nodes=[{"url": url, "slots": 1} for url in cls.nodes.urls])

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.cluster.close()
        cls.nodes.stop()
        cls.folder.cleanup()

    def run_tasks(self, tasks, **arguments):
        from sollol.execution import execute_parallel

        return execute_parallel(tasks, self.pool, **arguments)

    def test_requests_and_functions_share_one_admission(self):
        tasks = [{"model": "llama3.2", "prompt": "Hello"}] * 20
        tasks += [lambda pool: (os.getpid(), pool.generate("llama3.2", "Hello").done)] * 20
        tasks += [{"model": "none", "prompt": "Hello"}, lambda pool: 1 / 0]
        results = self.run_tasks(tasks)  # engine="auto": this program is connected to Dask
        self.assertTrue(all(result.get().done for result in results[:20]))
        self.assertNotIn(os.getpid(), {result.get()[0] for result in results[20:40]})
        self.assertEqual([type(result.error).__name__ for result in results[40:]],
                         ["ModelNotFound", "ZeroDivisionError"])
        self.assertEqual(self.nodes.counts("max_in_flight"), [1, 1])

    def test_a_worker_that_is_killed_is_made_up_for(self):
        marker = os.path.join(self.folder.name, "died")
        results = self.run_tasks([dies_once(marker), *[lambda pool: pool.generate("llama3.2", "x").done] * 10],
                                 engine="dask")
        self.assertTrue(all(result.get() for result in results), results)
        self.assertTrue(os.path.exists(marker))

    def test_the_worker_that_holds_the_pool_is_killed(self):
        def holders():
            held = self.client.run(lambda dask_worker: (os.getpid(), len(dask_worker.state.actors)))
            return [process for process, actors in held.values() if actors]

        def kill():
            clusters.eventually(lambda: sum(self.nodes.counts("in_flight")) > 0)
            for process in holders():
                os.kill(process, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        slow = {"model": "slow", "prompt": "Hello", "options": {"num_predict": 10}}
        results = self.run_tasks([slow] * 4, engine="dask")
        killer.join()
        self.assertTrue(all(result.ok for result in results), results)

    def test_a_driver_that_is_killed_leaves_no_work_behind(self):
        driver = subprocess.Popen([sys.executable, "-c", DRIVER, self.cluster.scheduler_address, *self.nodes.urls],
                                  stdout=subprocess.PIPE, text=True)
        self.assertEqual(driver.stdout.readline(), "runs\n")
        clusters.eventually(lambda: sum(self.nodes.counts("in_flight")) > 0)
        driver.kill()
        driver.communicate()
        clusters.eventually(lambda: sum(self.nodes.counts("in_flight")) == 0)
        self.assertTrue(self.run_tasks([{"model": "llama3.2", "prompt": "Hello"}], engine="dask")[0].get().done)


if __name__ == "__main__":
    clusters.enter()
    unittest.main(verbosity=1)
