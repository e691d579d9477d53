#!/usr/bin/env python3
"""Opens very many idle connections to a gateway, from many loopback addresses, while one client asks.

    bench/connections/flood.py --port 11434 --count 100000 [--half-heads] [--pid PID]

Prints how many connections were open at most and at the end, how the asking client fared before and
during the flood, and what the gateway's process held (with --pid). Each source address 127.0.x.y
gives some 28,000 ports. Descriptors: the limit is raised as far as it goes; `--count` beyond it is
reached by closing the oldest. Only loopback is touched.
"""
import argparse
import errno
import resource
import select
import socket
import statistics
import time


def resident_mb(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def ask(port):
    """One request on a connection of its own; its time in seconds, None when it was not answered."""
    began = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := client.recv(65536):
                answer += piece
        return time.monotonic() - began if b" 200 " in answer.split(b"\r\n")[0] else None
    except OSError:
        return None


class Flood:
    def __init__(self, port, half_heads):
        self.port = port
        self.half_heads = half_heads
        self.poll = select.epoll()
        self.open = {}
        self.counts = {"opened": 0, "ended": 0, "refused": 0, "most": 0}

    def connect(self, number):
        source = f"127.0.{1 + number // 20000 // 250}.{1 + number // 20000 % 250}"
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.setblocking(False)
        # The kernel picks the port at connect, so that each source has all of them for one target.
        client.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        client.bind((source, 0))
        code = client.connect_ex(("127.0.0.1", self.port))
        if code not in (0, errno.EINPROGRESS):
            client.close()
            self.counts["refused"] += 1
            return
        self.open[client.fileno()] = client
        self.poll.register(client.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)

    def pump(self, timeout=0.0):
        for number, events in self.poll.poll(timeout, 4096):
            client = self.open.get(number)
            if client is None:
                continue
            if events & (select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP):
                self.drop(number)
                self.counts["ended"] += 1
            elif events & select.EPOLLOUT:
                self.counts["opened"] += 1
                if self.half_heads:
                    try:
                        client.send(b"POST /api/chat HTTP/1.1\r\nX")
                    except OSError:
                        pass
        self.counts["most"] = max(self.counts["most"], len(self.open))

    def drop(self, number):
        self.poll.unregister(number)
        self.open.pop(number).close()


def summary(times):
    good = sorted(t for t in times if t is not None)
    if not good:
        return f"{len(times)} asked, none answered"
    return (f"{len(times)} asked, {len(good)} answered, p50 {statistics.median(good) * 1000:.1f} ms, "
            f"max {good[-1] * 1000:.1f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--half-heads", action="store_true", help="each sends the beginning of a request")
    parser.add_argument("--pid", type=int, help="the gateway's process, whose memory is shown")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"descriptors: {most}")
    print("before:", summary([ask(options.port) for _ in range(50)]))
    if options.pid:
        print(f"resident before: {resident_mb(options.pid):.1f} MB")
    flood = Flood(options.port, options.half_heads)
    during, peak = [], 0.0
    began = time.monotonic()
    for number in range(options.count):
        if len(flood.open) >= most - 100:
            flood.drop(next(iter(flood.open)))
        flood.connect(number)
        if number % 64 == 0:
            flood.pump()
        if number % 1000 == 0:
            during.append(ask(options.port))
            if options.pid:
                peak = max(peak, resident_mb(options.pid))
    while flood.counts["opened"] + flood.counts["refused"] < options.count and time.monotonic() - began < 300:
        before = dict(flood.counts)
        flood.pump(0.5)
        if flood.counts == before:
            break
    print(f"tried {options.count} in {time.monotonic() - began:.1f} s: {flood.counts['opened']} connected, "
          f"{flood.counts['ended']} ended by the gateway, {flood.counts['refused']} not possible here, "
          f"{flood.counts['most']} open at most, {len(flood.open)} now")
    print("during:", summary(during))
    print("with all open:", summary([ask(options.port) for _ in range(50)]))
    if options.pid:
        print(f"resident at most: {max(peak, resident_mb(options.pid)):.1f} MB")
    for number in list(flood.open):
        flood.drop(number)
    time.sleep(1)
    print("after:", summary([ask(options.port) for _ in range(50)]))
    if options.pid:
        print(f"resident after: {resident_mb(options.pid):.1f} MB")


if __name__ == "__main__":
    main()
