"""Trainer of the benchmarks' stock jobs: sends back what it gets, the last element one more each round."""
import argparse
import json
import os
import time

import numpy as np

import nvflare.client as flare


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--arrays", type=int)
    parser.add_argument("--elements", type=int)
    parser.add_argument("--out")
    args = parser.parse_args()
    flare.init()
    site = flare.get_site_name()
    number = int(site.split("-")[1])
    with open(os.path.join(args.out, site + ".jsonl"), "a", buffering=1) as out:
        while flare.is_running():
            model = flare.receive()
            at = time.time() * 1000
            if model is None:
                break
            params = model.params or {
                "layer_%d" % i: np.full(args.elements, number, np.float32) for i in range(args.arrays)
            }
            last = params["layer_%d" % (args.arrays - 1)]
            out.write(json.dumps({"round": model.current_round, "at": at, "last": float(last[-1])}) + "\n")
            last[-1] += 1
            flare.send(flare.FLModel(params_type="FULL", params=params, meta={"NUM_STEPS_CURRENT_ROUND": 1}))


if __name__ == "__main__":
    main()
