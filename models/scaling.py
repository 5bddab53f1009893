"""Features in training sds: measured once on the training rows, then frozen into the model. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.checks import requires_fitted
from desk.errors import ContractBroken

# scaled features beyond five training sds carry no more information than five
CLIP_SDS = 5.0
# a feature whose sd is below this share of its size is constant up to float32 rounding
CONSTANT_SHARE = 1e-6


@dataclass(frozen=True, slots=True)
class Scaler:
    """Mean and sd of each feature over the rows it was fitted on, float32 [feature]."""

    mean: NDArray[np.float32]
    sd: NDArray[np.float32]

    @classmethod
    def fit(cls, features: NDArray[np.float32]) -> Scaler:
        """Measure features [..., feature] of training rows; rows with a NaN do not count. A constant feature gets sd 1 and so becomes 0."""
        seen = features[np.isfinite(features).all(axis=-1)].astype(np.float64)
        if not len(seen):
            raise ContractBroken(f"scaling needs rows with every feature finite; found none in {len(features)} training rows; use a longer history")
        mean, sd = seen.mean(axis=0), seen.std(axis=0)
        constant = sd <= CONSTANT_SHARE * np.maximum(np.abs(mean), CONSTANT_SHARE)
        return cls(mean.astype(np.float32), np.where(constant, 1.0, sd).astype(np.float32))

    @requires_fitted("mean")
    def scale(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features [..., feature] in training sds around the training mean, clipped to +-5. NaN stays NaN."""
        return np.clip((features - self.mean) / self.sd, -CLIP_SDS, CLIP_SDS)
