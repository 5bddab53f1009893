"""Asked in the peers' own environment: JSON of plain numbers in, JSON out. Never imported by ours."""

import json
import sys
import warnings

import numpy as np

warnings.filterwarnings("ignore")


def measures(returns):
    """empyrical-reloaded: a year of 365 periods; tails at 95 %."""
    import empyrical

    r = np.array(returns)
    return {
        "sharpe": empyrical.sharpe_ratio(r, annualization=365),
        "sortino": empyrical.sortino_ratio(r, annualization=365),
        "calmar": empyrical.calmar_ratio(r, annualization=365),
        "max_drawdown": -empyrical.max_drawdown(r),
        "value_at_risk": -empyrical.value_at_risk(r, 0.05),
        "expected_shortfall": -empyrical.conditional_value_at_risk(r, 0.05),
    }


def stats(returns):
    """quantstats: the same and what empyrical does not have."""
    import pandas as pd
    import quantstats.stats as qs

    r = pd.Series(returns, index=pd.date_range("2020-01-01", periods=len(returns)))
    return {
        "sharpe": qs.sharpe(r, periods=365),
        "sortino": qs.sortino(r, periods=365),
        "max_drawdown": -qs.max_drawdown(r),
        "hit_rate": qs.win_rate(r),
        "profit_factor": qs.profit_factor(r),
    }


def block(returns):
    """arch: optimal mean block of the stationary bootstrap."""
    from arch.bootstrap import optimal_block_length

    return [optimal_block_length(np.array(each))["stationary"].iloc[0] for each in returns]


def spa(returns, block_bars, seed):
    """arch: Hansen's three p-values."""
    from arch.bootstrap import SPA

    answers = []
    for each in returns:
        found = SPA(np.zeros(len(each)), -np.array(each), block_size=block_bars, reps=2000, bootstrap="stationary", seed=seed)
        found.compute()
        answers.append({name: float(p) for name, p in found.pvalues.items()})
    return answers


def folds(n_rows, groups, tested, purged):
    """skfolio: training rows of every combinatorial split, and the split of each group on each path."""
    from skfolio.model_selection import CombinatorialPurgedCV

    cv = CombinatorialPurgedCV(n_folds=groups, n_test_folds=tested, purged_size=purged, embargo_size=0)
    splits = cv.split(np.zeros((n_rows, 1)))
    return {"train": [train.tolist() for train, _ in splits], "paths": np.array(cv.recombined_paths).T.tolist()}


if __name__ == "__main__":
    question, arguments = json.loads(sys.stdin.read())
    found = globals()[question](**arguments)
    sys.stdout.write(json.dumps(found, default=float))
