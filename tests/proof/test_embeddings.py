"""Pooling as the bundle says, cosines, and two bundles that pool differently."""

from dataclasses import replace

import numpy as np
import pytest
from proof_models import builtin

from fairway.errors import UnsupportedError
from fairway.formats.pooling import Pooling
from fairway.proof.embeddings import cosine, pool
from fairway.proof.rounded import rounded
from fairway.proof.run import ProofSettings, run

QUICK = ProofSettings(quick=True, window_tokens=32)


def test_pooling_by_hand():
    states = np.array([[1, 2], [3, 8], [5, 5]], np.float32)
    assert pool(states, "mean").tolist() == [3, 5]
    assert pool(states, "cls").tolist() == [1, 2]
    assert pool(states, "last").tolist() == [5, 5]
    assert pool(states, "max").tolist() == [5, 8]
    with pytest.raises(UnsupportedError, match="rank"):
        pool(states, "rank")


def test_cosine_by_hand():
    a, b = np.array([3, 4], np.float32), np.array([4, 3], np.float32)
    assert cosine(a, b) == pytest.approx(0.96) and cosine(a, a) == 1 and cosine(a, -a) == pytest.approx(-1)


@pytest.mark.parametrize("kind", ["mean", "cls", "last"])
def test_an_embedding_model_is_compared_without_being_asked(kind):
    source = replace(builtin(), pooling=Pooling(kind, True))
    proof = run(source, rounded(source, "int8"), QUICK)
    assert proof.evidence.embeddings.pooling == (kind, kind)
    assert 0.99 < proof.evidence.embeddings.cosine_min < 1
    assert proof.verdict["embeddings"].status == "passed"


def test_another_pooling_fails_whatever_the_cosine():
    source = replace(builtin(), pooling=Pooling("mean", True))
    for changed in (Pooling("last", True), Pooling("mean", False), None):
        check = run(source, replace(source, pooling=changed), QUICK).verdict["embeddings"]
        assert check.status == "failed", changed
    assert "pooling: mean became last" in check.details[0]


def test_an_unknown_pooling_is_not_measured():
    source = replace(builtin(), pooling=Pooling("rank"))
    assert run(source, source, QUICK).verdict["embeddings"].status == "not applicable"
