"""Whether the simulator of policies tells the truth: the same fleet and requests over sockets and in virtual time.

For each policy: `sollol sim` runs the fleet, `sollol up` stands before it, and the requests of a trace are made at
their times; `sollol bench policies` plays the same fleet file and trace. Means of the time to the first token and to
the last must lie within --within of each other, and policies that differ by more than that must rank alike.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FLEETS = {
    "mixed": {"rates": [50, 100, 200, 400], "slots": 1, "models": 1, "load": 0.7},
    # More requests: how soon the slots are learnt differs from run to run.
    "slots": {"rates": [50, 100, 200, 400], "slots": 4, "models": 1, "load": 0.7, "times": 3},
    "models": {"rates": [100, 100, 200, 200], "slots": 1, "models": 4, "load": 0.35},
}
PREFILL_PER_DECODE = 20
START_S = 20
JITTER_S = 0.005  # of arrivals in the world


def free_port(ip):
    with socket.socket() as listener:
        listener.bind((ip, 0))
        return listener.getsockname()[1]


def addresses(count):
    return [(f"127.0.{90 + i}.1", free_port(f"127.0.{90 + i}.1")) for i in range(count)]


def fleet_toml(fleet, places):
    text = "time_scale = 1\n"
    for i, (rate, (ip, port)) in enumerate(zip(fleet["rates"], places)):
        models = ", ".join(
            f'{{ name = "model{m}", decode_rate = {rate}, prefill_rate = {rate * PREFILL_PER_DECODE}, '
            'load_time = "800ms", answer_tokens = 1000000000 }' for m in range(fleet["models"]))
        text += (f'\n[[node]]\nname = "node{i + 1}"\nlisten = "{ip}:{port}"\nslots = {fleet["slots"]}\n'
                 f"max_loaded = {max(1, fleet['models'] // 2)}\nmodels = [{models}]\n")
    return text


def draw_trace(fleet, count, seed):
    """Requests whose answers have the length that they ask for, so that both sides do the same work."""
    chance = random.Random(seed)
    requests = []
    for _ in range(count):
        requests.append({"model": f"model{min(int(chance.expovariate(1.0)), fleet['models'] - 1)}",
                         "prompt_tokens": max(20, min(2000, int(chance.lognormvariate(5.3, 0.7)))),
                         "output_tokens": max(5, min(200, int(chance.lognormvariate(3.7, 0.6)))),
                         "client": f"c{chance.randrange(8)}"})
    work = sum(r["prompt_tokens"] / PREFILL_PER_DECODE + r["output_tokens"] for r in requests) / count
    beside = fleet["slots"] / (1 + 0.25 * (fleet["slots"] - 1))
    per_s = fleet["load"] * sum(fleet["rates"]) * beside / work
    at = 0.0
    for request in requests:
        at += chance.expovariate(per_s)
        request["at_s"] = at
    return requests


def write_trace(file, requests):
    lines = ["at_s,model,prompt_tokens,output_tokens,client,told"]
    lines += ["{at_s:.6f},{model},{prompt_tokens},{output_tokens},{client},1".format(**r) for r in requests]
    file.write_text("\n".join(lines) + "\n")


def prompt_of(index, tokens):
    """So many words of one token each; the first differ, so that no prompt cache helps."""
    first = format(index, "x")[::-1][:3]
    return " ".join([first] + [format((index * 31 + i) % 4096, "03x") for i in range(tokens - 1)])


async def ask(address, index, request, began):
    await asyncio.sleep(max(0.0, began + request["at_s"] - time.monotonic()))
    body = json.dumps({"model": request["model"], "prompt": prompt_of(index, request["prompt_tokens"]),
                       "raw": True, "options": {"num_predict": request["output_tokens"]}}).encode()
    sent = time.monotonic()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                 b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    first = None
    done = False
    async for line in reader:
        if first is None and b'"response":"' in line and b'"response":""' not in line:
            first = time.monotonic()
        if b'"done":true' in line:
            done = True
            counted = json.loads(line[line.index(b"{"):])
            assert counted["eval_count"] == request["output_tokens"], counted
            assert counted["prompt_eval_count"] == request["prompt_tokens"], counted
    writer.close()
    last = time.monotonic()
    return (first - sent, last - sent) if done else None


async def ask_all(address, requests):
    began = time.monotonic() + 0.2
    return await asyncio.gather(*(ask(address, i, r, began) for i, r in enumerate(requests)))


async def until_ready(address, nodes):
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET /sollol/v1/nodes HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            if answer.count(b'"healthy"') >= nodes:
                return
        except OSError:
            pass
        await asyncio.sleep(0.05)
    raise SystemExit("the gateway did not find its nodes healthy in time")


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)


def real(sollol, folder, fleet_file, places, requests, policy):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": open(folder / f"{policy}.log", "wb")}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SOLLOL_", "OLLAMA_"))}
    environment |= {"SOLLOL_AUTO_DISCOVER": "false", "XDG_CONFIG_HOME": str(folder), "XDG_STATE_HOME": str(folder)}
    address = ("127.0.0.1", free_port("127.0.0.1"))
    nodes = subprocess.Popen([sollol, "sim", "--fleet", str(fleet_file)], env=environment, **quiet)
    command = [sollol, "up", "--listen", "{}:{}".format(*address), "--no-node-file", "--state-file", "off",
               "--policy", policy]
    for i, (ip, port) in enumerate(places):
        # They share this machine, but not what they simulate.
        command += ["--node", f"http://{ip}:{port},name=node{i + 1},host=machine{i + 1}"]
    gateway = subprocess.Popen(command, env=environment, **quiet)
    try:
        asyncio.run(until_ready(address, len(places)))
        times = asyncio.run(ask_all(address, requests))
    finally:
        stop(gateway)
        stop(nodes)
    answered = [t for t in times if t is not None]
    return {"answered": len(answered), "ttft_s": sum(t[0] for t in answered) / len(answered),
            "completion_s": sum(t[1] for t in answered) / len(answered)}


def played(sollol, fleet_file, trace_file, requests, policies, seeds):
    """Means over some seeds: the policies' own chance is not the same on both sides, and a request that comes a moment
    later may be sent elsewhere, and all after it with it."""
    sums = {policy: {"answered": 0, "ttft_s": 0.0, "completion_s": 0.0} for policy in policies}
    for seed in range(1, seeds + 1):
        chance = random.Random(seed)
        late = [r | {"at_s": r["at_s"] + JITTER_S * chance.random()} for r in requests]
        write_trace(trace_file, sorted(late, key=lambda r: r["at_s"]))
        out = subprocess.run([sollol, "bench", "policies", "--fleet", str(fleet_file), "--trace", str(trace_file),
                              "--policies", ",".join(policies), "--seed", str(seed), "--json"],
                             check=True, capture_output=True)
        for row in json.loads(out.stdout):
            of = sums[row["policy"]]
            of["answered"] = row["answered"]
            of["ttft_s"] += row["ttft_s"]["mean"] / seeds
            of["completion_s"] += row["completion_s"]["mean"] / seeds
    return sums


def ranks_alike(rows, measure, within):
    """Policies that the world tells apart by more than `within` have that order in reality too."""
    wrong = []
    for one, of_one in rows.items():
        for other, of_other in rows.items():
            clearly = of_one["world"][measure] * (1 + within) < of_other["world"][measure]
            if clearly and of_one["real"][measure] > of_other["real"][measure]:
                wrong.append(f"{measure}: {one} before {other} in the world, after it in reality")
    return wrong


def check(options, name):
    fleet = FLEETS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        places = addresses(len(fleet["rates"]))
        fleet_file, trace_file = folder / "fleet.toml", folder / "trace.csv"
        fleet_file.write_text(fleet_toml(fleet, places))
        requests = draw_trace(fleet, options.requests * fleet.get("times", 1), options.seed)
        world = played(options.sollol, fleet_file, trace_file, requests, options.policies, options.seeds)
        print(f"\n{name}: {len(requests)} requests in {requests[-1]['at_s']:.0f} s", flush=True)
        print(f"{'':20} {'ttft real':>10} {'world':>8} {'off':>7}   {'last real':>10} {'world':>8} {'off':>7}")
        rows, wrong = {}, []
        for policy in options.policies:
            row = {"real": real(options.sollol, folder, fleet_file, places, requests, policy), "world": world[policy]}
            rows[policy] = row
            off = {m: row["world"][m] / row["real"][m] - 1 for m in ("ttft_s", "completion_s")}
            print(f"{policy:20} {row['real']['ttft_s']:10.3f} {row['world']['ttft_s']:8.3f} {off['ttft_s']:+7.1%}   "
                  f"{row['real']['completion_s']:10.3f} {row['world']['completion_s']:8.3f} {off['completion_s']:+7.1%}",
                  flush=True)
            if row["real"]["answered"] != len(requests):
                wrong.append(f"{policy}: only {row['real']['answered']} answers over sockets")
            wrong += [f"{policy}: mean {m} off by {o:+.1%}" for m, o in off.items() if abs(o) > options.within]
        for measure in ("ttft_s", "completion_s"):
            wrong += ranks_alike(rows, measure, options.within)
        return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sollol", default="build/release/src/cli/sollol")
    parser.add_argument("--fleets", default="mixed,slots,models", help=", ".join(FLEETS))
    parser.add_argument("--policies", default="expected_completion,round_robin,least_connections,points")
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5, help="of the world's chance, averaged")
    parser.add_argument("--within", type=float, default=0.1)
    options = parser.parse_args()
    options.policies = options.policies.split(",")
    wrong = []
    for name in options.fleets.split(","):
        wrong += [f"{name}: {what}" for what in check(options, name)]
    print("\n" + ("\n".join(wrong) if wrong else "reality and the world agree"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
