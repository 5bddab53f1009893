"""Regimes on a planted two-state market whose optimum is known, and the filter against another implementation and closed forms.

Planted: a wild state, mean -.12, sd 1.6, stays with .97; a calm state, mean .06, sd .7, stays with .99. The Bayes predictor of the next bar's
state is right in about 92 % of the bars; a smoother, which knows the future, names the present one right in about 96 %.
"""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hmmlearn.hmm import GaussianHMM

from desk.errors import NotFinite
from desk.features import regime

SCALE = 0.01


def _planted(n_bars, seed):
    """(true state [time]: 0 calm, 1 wild; returns [time], fractions)."""
    random = np.random.default_rng(seed)
    leave, state, states = (0.01, 0.03), 0, np.empty(n_bars, dtype=np.int64)
    for at, draw in enumerate(random.random(n_bars)):
        state = 1 - state if draw < leave[state] else state
        states[at] = state
    returns = np.array([0.06, -0.12])[states] + np.array([0.7, 1.6])[states] * random.normal(size=n_bars)
    return states, returns * SCALE


@pytest.fixture(scope="module")
def planted():
    """The planted market's training path, a later path, and the model fitted on the first alone."""
    _, training = _planted(20_000, 1)
    states, returns = _planted(50_000, 2)
    return regime.fit(training, 2), states, returns


def test_the_fit_finds_the_planted_parameters_calmest_first(planted):
    model, _, _ = planted

    np.testing.assert_allclose([0.7, 1.6], np.array(model.sd) / SCALE, rtol=0.05)
    np.testing.assert_allclose([0.06, -0.12], np.array(model.mean) / SCALE, atol=0.06)
    np.testing.assert_allclose([0.99, 0.97], np.diag(model.transition), atol=0.006)


def test_the_filter_reaches_the_bayes_accuracy_and_not_the_smoothers(planted):
    model, states, returns = planted
    oracle = regime.RegimeModel((0.75, 0.25), ((0.99, 0.01), (0.03, 0.97)), (0.06 * SCALE, -0.12 * SCALE), (0.7 * SCALE, 1.6 * SCALE))
    filtered, best = model.filtered(returns), oracle.filtered(returns)

    accuracy, bayes = ((p @ np.array(oracle.transition))[:-1].argmax(axis=1) == states[1:] for p in (filtered, best))

    assert 0.91 < bayes.mean() < 0.93
    assert abs(accuracy.mean() - bayes.mean()) < 0.004
    assert np.abs(filtered - best).mean() < 0.02
    assert (filtered.argmax(axis=1) == states).mean() < 0.945 < _smoothed_accuracy(oracle, states, returns)


def _smoothed_accuracy(model, states, returns):
    """What the same parameters reach with the future known: the library's own smoother."""
    engine = GaussianHMM(2, covariance_type="diag")
    engine.startprob_, engine.transmat_ = np.array(model.start), np.array(model.transition)
    engine.means_, engine.covars_ = np.array(model.mean)[:, None] / SCALE, np.square(np.array(model.sd) / SCALE)[:, None]
    return (engine.predict_proba(returns[:, None] / SCALE).argmax(axis=1) == states).mean()


def test_the_last_row_equals_the_smoothers_last_row(planted):
    """At the end of a series there is no future: filter and smoother must agree, which checks the filter against another implementation."""
    model, _, returns = planted
    engine = GaussianHMM(2, covariance_type="diag")
    engine.startprob_, engine.transmat_ = np.array(model.start), np.array(model.transition)
    engine.means_, engine.covars_ = np.array(model.mean)[:, None] / SCALE, np.square(np.array(model.sd) / SCALE)[:, None]

    for end in (1, 2, 50, 500):
        expected = engine.predict_proba(returns[:end, None] / SCALE)[-1]
        np.testing.assert_allclose(expected, model.filtered(returns[:end])[-1], rtol=1e-8)


def test_bars_to_come_never_change_the_past(planted):
    model, _, returns = planted
    changed = np.concatenate([returns[:3000], returns[3000:4000] * -40.0, [np.nan, 5.0, -0.99]])

    np.testing.assert_array_equal(model.filtered(returns[:3000]), model.filtered(changed)[:3000])


def test_rows_are_probabilities_whatever_the_returns(planted):
    """Outliers of a thousand deviations, runs of zeros and undefined returns stay finite and sum to 1."""
    model, _, _ = planted
    returns = np.array([np.nan, 0.0, 0.0, 1e3, -1e3, np.nan, 1e-12, 50.0])

    filtered = model.filtered(returns)

    np.testing.assert_allclose(np.ones(8), filtered.sum(axis=1), rtol=1e-12)
    assert ((filtered >= 0.0) & (filtered <= 1.0)).all()


def test_an_undefined_return_says_nothing(planted):
    """Its row is one step of the chain from the row before."""
    model, _, returns = planted

    filtered = model.filtered(np.array([*returns[:10], np.nan]))

    np.testing.assert_allclose(filtered[9] @ np.array(model.transition), filtered[10], rtol=1e-12)


def test_a_model_survives_json(planted):
    model, _, _ = planted

    assert model == regime.RegimeModel.from_dict(json.loads(json.dumps(model.to_dict())))


def test_a_fit_is_the_same_twice(planted):
    _, training = _planted(5_000, 3)

    assert regime.fit(training, 3) == regime.fit(training, 3)


def test_a_fit_does_not_depend_on_the_unit_of_returns():
    _, training = _planted(5_000, 4)
    small, large = regime.fit(training, 2), regime.fit(training * 1000.0, 2)

    np.testing.assert_allclose(small.transition, large.transition, rtol=1e-6)
    np.testing.assert_allclose(np.array(small.sd) * 1000.0, large.sd, rtol=1e-6)


@pytest.mark.parametrize("returns", [np.full(1000, np.nan), np.zeros(1000), np.array([0.01, -0.01] * 20)], ids=["undefined", "flat", "few"])
def test_returns_that_cannot_tell_regimes_apart_are_refused(returns):
    with pytest.raises(NotFinite, match="2 regimes need at least 100 finite, varying returns"):
        regime.fit(returns, 2)


def test_fifty_thousand_bars_are_filtered_within_a_second(planted):
    """Of the processor: what other programs take of it is not ours."""
    model, _, returns = planted

    started = time.process_time()
    model.filtered(returns)

    assert time.process_time() - started < 1.0
