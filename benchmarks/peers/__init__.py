"""The peers: libraries and solvers, each with the budgets with which it is run."""

from __future__ import annotations

import torch

from benchmarks.peers.others import Glum, Liblinear, LiblinearDual, Skglm, Statsmodels, XGBoostLinear
from benchmarks.peers.ours import Torchlogit, certified
from benchmarks.peers.peer import PRECISIONS, Fit, Peer, counts
from benchmarks.peers.scikit_learn import ScikitLearn, ScikitLearnSGD
from benchmarks.peers.torch_loops import TorchLBFGS, TorchLoop
from benchmarks.peers.vowpal_wabbit import VowpalWabbit

__all__ = ["PEERS", "PRECISIONS", "Fit", "Peer", "certified"]

_PEERS: tuple[Peer, ...] = (
    Torchlogit(),
    ScikitLearn("newton-cholesky", counts(2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, last=100)),
    Glum(),
    ScikitLearn("lbfgs", counts(last=5000)),
    ScikitLearn("newton-cg", counts(last=200)),
    Skglm(),
    Liblinear(),
    LiblinearDual(),
    ScikitLearn("liblinear", counts(2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, last=100)),
    ScikitLearn("sag", counts(last=1000)),
    ScikitLearn("saga", counts(last=1000)),
    ScikitLearnSGD(),
    VowpalWabbit(),
    XGBoostLinear(),
    Statsmodels(),
    TorchLBFGS(),
    TorchLoop("torch-adam", torch.optim.Adam, rate=1e-3, batch=256),
    TorchLoop("torch-loop", torch.optim.SGD, rate=0.01, batch=32),
)
PEERS: dict[str, Peer] = {peer.name: peer for peer in _PEERS}
