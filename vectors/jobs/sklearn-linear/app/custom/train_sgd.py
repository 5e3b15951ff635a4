"""Logistic regression by scikit-learn's SGDClassifier on the package's own data, split between the sites."""
import argparse

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss

import nvflare.client as flare


def load(site):
    number = int("".join(c for c in site if c.isdigit()) or "1")
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    return x[number - 1 :: 2], y[number - 1 :: 2]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--passes", type=int, default=2)
    args = p.parse_args()

    flare.init()
    x, y = load(flare.get_site_name())
    model = None
    while flare.is_running():
        incoming = flare.receive()
        if incoming is None:
            break
        params = incoming.params
        if model is None:  # the first round brings the settings
            model = SGDClassifier(
                loss=params["loss"],
                penalty=params["penalty"],
                learning_rate=params["learning_rate"],
                eta0=params["eta0"],
                fit_intercept=bool(params["fit_intercept"]),
                random_state=7,
            )
            model.partial_fit(x[:1], y[:1], classes=np.arange(params["n_classes"]))
            model.coef_ = np.zeros((1, x.shape[1]))
            model.intercept_ = np.zeros((1,))
        else:
            model.coef_ = np.array(params["coef"])
            model.intercept_ = np.array(params["intercept"])
        before = log_loss(y, model.predict_proba(x))
        accuracy = float(model.score(x, y))
        for _ in range(args.passes):
            model.partial_fit(x, y)
        flare.send(
            flare.FLModel(
                params={"coef": model.coef_, "intercept": model.intercept_},
                metrics={"loss": float(before), "accuracy": accuracy},
                meta={"NUM_STEPS_CURRENT_ROUND": len(y)},
            )
        )


if __name__ == "__main__":
    main()
