"""Stock FOBS: writes sample values as files and says how fast it encodes and decodes them.

stock_fobs.py <folder> <mb of arrays> <number of small values> <repetitions>
"""
import json
import os
import sys
import time

import numpy as np

from nvflare.apis.shareable import Shareable
from nvflare.app_common.decomposers import numpy_decomposers
from nvflare.fuel.utils import fobs
from nvflare.private.fed.utils.fed_utils import nvflare_fobs_initialize


def small():
    s = Shareable()
    s.set_header("__task_name__", "train")
    s.set_header("__task_id__", "2f0f21a6-7f33-45c2-9b5c-4f0f8f9d2b11")
    s.set_header("current_round", 3)
    s.set_header("num_rounds", 10)
    s["metrics"] = {"accuracy": 0.8125, "loss": 0.3125}
    s["sites"] = ["site-%d" % i for i in range(8)]
    return s


def timed(work, repetitions):
    work()
    values = []
    for _ in range(repetitions):
        start = time.perf_counter()
        work()
        values.append(time.perf_counter() - start)
    return values


def main():
    folder, mb, count, repetitions = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    nvflare_fobs_initialize()
    numpy_decomposers.register()
    each = mb * 1024 * 1024 // 4 // 16
    arrays = {"layer.%d" % i: np.arange(each, dtype=np.float32) + i for i in range(16)}
    value = small()
    array_bytes = fobs.dumps(arrays)
    small_bytes = fobs.dumps(value)
    for name, data in (("arrays", array_bytes), ("small", small_bytes)):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
    back = fobs.loads(array_bytes)
    right = all(np.array_equal(back[k], v) for k, v in arrays.items()) and fobs.loads(small_bytes) == value

    def many(work):
        def run():
            for _ in range(count):
                work()

        return run

    print(
        json.dumps(
            {
                "right": bool(right),
                "arrays": {
                    "encode": timed(lambda: fobs.dumps(arrays), repetitions),
                    "decode": timed(lambda: fobs.loads(array_bytes), repetitions),
                },
                "small": {
                    "encode": timed(many(lambda: fobs.dumps(value)), repetitions),
                    "decode": timed(many(lambda: fobs.loads(small_bytes)), repetitions),
                },
            }
        )
    )


if __name__ == "__main__":
    main()
