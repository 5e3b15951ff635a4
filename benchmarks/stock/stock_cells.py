"""Two stock cells over mutual TLS: requests, blobs and downloads, measured from the client's side.

serve <kit> <port>             writes {"ready": true}, serves until standard input ends
measure <kit> <port>           reads one JSON command a line, writes one JSON answer a line
"""
import json
import logging
import os
import sys
import threading
import time

import numpy as np

from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.message import Message
from nvflare.private.fed.utils.fed_utils import nvflare_fobs_initialize

try:
    from nvflare.app_common.decomposers import numpy_decomposers
except ImportError:
    numpy_decomposers = None


def say(obj):
    print(json.dumps(obj), flush=True)


def open_cell(name, kit, port, identities=None):
    nvflare_fobs_initialize()
    if numpy_decomposers is not None:
        numpy_decomposers.register()
    side = "server" if name == "server" else "client"
    startup = os.path.join(kit, "startup")
    credentials = {
        "ca_cert": os.path.join(startup, "rootCA.pem"),
        side + "_cert": os.path.join(startup, side + ".crt"),
        side + "_key": os.path.join(startup, side + ".key"),
    }
    host = "0" if name == "server" else "localhost"
    cell = Cell(
        fqcn=name,
        root_url="tcp://%s:%d" % (host, port),
        secure=True,
        credentials=credentials,
        auth_identity_map=identities,
    )
    return cell


def serve(kit, port):
    cell = open_cell("server", kit, port)

    def echo(request):
        return Message({}, request.payload)

    def count(request):
        payload = request.payload
        view = np.frombuffer(payload, dtype=np.uint8)
        return Message({}, {"bytes": len(payload), "last": int(view[-1])})

    def model(request):
        size = int(request.payload["mb"])
        return Message({}, {"w": arrays(size)})

    kept = {}

    def arrays(mb):
        if mb not in kept:
            kept.clear()
            kept[mb] = np.arange(mb * 1024 * 1024 // 4, dtype=np.float32)
        return kept[mb]

    cell.register_request_cb(channel="task", topic="echo", cb=echo)
    cell.register_request_cb(channel="bench", topic="count", cb=count)
    cell.register_request_cb(channel="bench", topic="model", cb=model)
    cell.start()
    say({"ready": True})
    sys.stdin.read()
    cell.stop()
    os._exit(0)


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def measure_requests(cell, command):
    """`outstanding` threads, each with one request under way."""
    outstanding = command["outstanding"]
    each = command["requests"] // outstanding
    body = command["body"]
    times = []
    wrong = []

    def work():
        mine = []
        for _ in range(each):
            start = time.perf_counter()
            reply = cell.send_request(
                channel="task", topic="echo", target="server", request=Message({}, body), timeout=30.0
            )
            mine.append(time.perf_counter() - start)
            if reply.payload != body:
                wrong.append(reply.headers)
        times.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(outstanding)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    return {
        "perSecond": len(times) / seconds,
        "p50Ms": percentile(times, 0.5) * 1000,
        "p99Ms": percentile(times, 0.99) * 1000,
        "right": not wrong and len(times) == each * outstanding,
    }


def measure_blob(cell, command):
    size = command["mb"] * 1024 * 1024
    blob = bytearray(size)
    blob[-1] = 7
    blob = bytes(blob)
    start = time.perf_counter()
    reply = cell.send_request(channel="bench", topic="count", target="server", request=Message({}, blob), timeout=120.0)
    seconds = time.perf_counter() - start
    payload = reply.payload
    return {"seconds": seconds, "right": payload == {"bytes": size, "last": 7}}


def measure_download(cell, command):
    mb = command["mb"]
    start = time.perf_counter()
    reply = cell.send_request(
        channel="bench", topic="model", target="server", request=Message({}, {"mb": mb}), timeout=120.0
    )
    seconds = time.perf_counter() - start
    w = reply.payload["w"]
    n = mb * 1024 * 1024 // 4
    return {"seconds": seconds, "right": w.size == n and float(w[n - 1]) == float(np.float32(n - 1))}


def measure(kit, port):
    cell = open_cell("site-1", kit, port, {"server": "server1"})
    cell.start()
    while not cell.core_cell.agents:
        time.sleep(0.05)
    kinds = {"requests": measure_requests, "blob": measure_blob, "download": measure_download}
    say({"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        say(kinds[command["measure"]](cell, command))
    cell.stop()
    os._exit(0)


if __name__ == "__main__":
    logging.disable(logging.INFO)
    role, kit, port = sys.argv[1:4]
    {"serve": serve, "measure": measure}[role](kit, int(port))
