"""The wall clock jumps: only what is shown to people jumps with it."""

import email.utils
import json
import os
import signal
import struct
import unittest

from common import LifecycleTest, Stream, eventually, node_list, request


class Clock(LifecycleTest):
    def shift(self, seconds):
        with open(self.folder / "shift", "r+b") as file:
            file.write(struct.pack("l", seconds))

    def test_jumps_of_the_wall_clock_disturb_nothing(self):
        (self.folder / "shift").write_bytes(struct.pack("l", 0))
        env = self.environment(LD_PRELOAD=os.environ["CLOCK_SHIM"], CLOCK_SHIFT=str(self.folder / "shift"))
        access = self.folder / "access.log"
        gateway = self.gateway("--node", self.nodes(rate=50)[0], "--queue-max-wait", "60",
                               "--state-file", str(self.folder / "state.db"), "--state-interval", "0.1",
                               "--log-access", str(access), env=env)
        day = 24 * 3600

        def date():
            return email.utils.parsedate_to_datetime(request(gateway.port, "GET", "/")[1]["Date"]).timestamp()

        now = date()
        stream = Stream(gateway.port, 200).begun()
        for jump in (400 * day, -400 * day, 1, 0):
            self.shift(jump)
            eventually(lambda: abs(date() - now - jump) < 600, "the Date field that jumped")
            status, _, _ = request(gateway.port, "POST", "/api/generate",
                                   {"model": "llama3.2", "prompt": "x", "stream": False,
                                    "options": {"num_predict": 5}})
            self.assertEqual(status, 200)
            self.assertEqual(node_list(gateway.port)[0]["state"], "healthy")
        self.assertTrue(stream.done(), stream.error)
        self.assertEqual(stream.records[-1]["eval_count"], 200)
        self.assertNotIn("-> down", gateway.text)
        self.assertNotIn("-> ejected", gateway.text)
        eventually(lambda: len(access.read_text().splitlines()) >= 8, "the access lines")
        lines = [json.loads(line) for line in access.read_text().splitlines()]
        self.assertTrue(all(0 <= line["duration_s"] < 120 for line in lines), "durations are measured")
        self.assertGreater(len({line["time"][:4] for line in lines}), 1, "the shim works: years differ")
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.end(), 0)


if __name__ == "__main__":
    unittest.main()
