"""Weighted means the way NumPy does them: a += w * b for each contribution, then a /= sum of weights.

numpy_kernels.py <elements> <contributions> <repetitions>
"""
import json
import sys
import time

import numpy as np


def main():
    elements, contributions, repetitions = (int(arg) for arg in sys.argv[1:4])
    result = {}
    for name in ("float32", "float64", "float16"):
        dtype = np.dtype(name)
        values = [np.full(elements, i + 1, dtype) for i in range(contributions)]
        weights = [dtype.type(i + 1) for i in range(contributions)]

        def mean():
            total = np.zeros(elements, dtype)
            for b, w in zip(values, weights):
                total += w * b
            total /= dtype.type(sum(range(1, contributions + 1)))
            return total

        seconds = []
        out = mean()
        for _ in range(repetitions):
            start = time.perf_counter()
            out = mean()
            seconds.append(time.perf_counter() - start)
        result[name] = {"seconds": seconds, "last": float(out[-1])}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
