"""Money, costs and how forecasts become positions."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Self

from pydantic import Field, field_validator, model_validator

from configs.section import Section
from configs.vocabulary import Construction, Route, Submission

# Decimal fractions that make one in sum need not do so in binary.
ROUNDING = 1e-9


class FeeTier(Section):
    """One line of a venue's fee schedule."""

    volume: float = Field(gt=0, description="notional traded in the 30 days before from which the tier holds, in the quote currency")
    taker: float = Field(ge=0, lt=0.1, description="fee of an order that crossed, fraction of notional")
    maker: float | None = Field(None, ge=0, lt=0.1, description="fee of an order that rested, fraction of notional; without it maker_share of taker")


class CostSettings(Section):
    """What a trade costs. The cost the optimiser fears is the cost the simulator charges."""

    fee_rate: float = Field(0.001, ge=0, lt=0.1, description="taker fee below all tiers, fraction of notional")
    half_spread_bps: float = Field(1.0, ge=0, description="half of the quoted spread, basis points of price")
    impact_bps: float = Field(10.0, ge=0, description="square-root impact at 100 % participation in a bar's volume, basis points")
    participation_cap: float = Field(0.1, gt=0, le=1, description="largest share of a bar's volume our fills may take, fraction")
    fee_tiers: tuple[FeeTier, ...] = Field((), description="the venue's tiers above fee_rate, by ascending volume; the one that volume_30d reaches is charged")
    volume_30d: float = Field(0.0, ge=0, description="what the account traded in 30 days, in the quote currency; all of a run is charged by its tier")
    borrow_rate: float = Field(0.0, ge=0, lt=10, description="interest on what a short position borrowed, fraction a year; reported beside what was charged")
    maker_share: float = Field(1.0, ge=0, le=1, description="what an order that rested pays of the taker fee, fraction")

    @field_validator("fee_tiers")
    @classmethod
    def _ascends(cls, tiers: tuple[FeeTier, ...]) -> tuple[FeeTier, ...]:
        """Every tier begins above the one before it."""
        volumes = [tier.volume for tier in tiers]
        if any(before >= after for before, after in pairwise(volumes)):
            raise ValueError(f"each volume above the one before it, found {volumes}")
        return tiers


class PolicySettings(Section):
    """From forecast to exposure: long when the forecast clears the costs, flat when it falls away."""

    entry: float = Field(0.15, ge=0, description="forecast mean / forecast sd above which exposure is taken")
    exit: float = Field(0.0, description="forecast mean / forecast sd below which exposure is given back")
    allow_short: bool = Field(False, description="whether exposure may be negative; spot venues cannot")
    construction: Construction = Field(Construction.BAND, description="band decides for each symbol alone; every other one splits the capital over all symbols")
    gross: float = Field(0.95, gt=0, le=5, description="most capital a construction commits, sum of absolute weights, fraction of equity")
    deviation: float = Field(0.002, gt=0, lt=1, description="vol_target: wanted standard deviation of the account's return over one bar, fraction")
    kelly_fraction: float = Field(0.5, gt=0, le=1, description="kelly: share of the position that grows fastest, fraction")
    aversion: float = Field(5.0, gt=0, description="mean_variance and garleanu_pedersen: relative risk aversion")
    signal_decay: float = Field(0.1, ge=0, lt=1, description="garleanu_pedersen: share of a forecast's mean that is gone one bar later, fraction")
    covariance_bars: int = Field(60, ge=10, le=2000, description="mean age of the returns behind covariances, bars")
    shrinkage: float = Field(0.1, ge=0, le=1, description="how far correlations are drawn towards 0, fraction")
    members: tuple[Construction, ...] = Field(
        (Construction.BAND, Construction.RISK_PARITY), description="ensemble: the constructions on one account, each once"
    )
    shares: tuple[float, ...] = Field((), description="ensemble: capital of each member, fractions of at most 1 together; empty splits by the inverse of risk")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        """An ensemble has members, each once, none an ensemble, and no share or one each."""
        if not self.members or len(set(self.members)) < len(self.members) or Construction.ENSEMBLE in self.members:
            raise ValueError(f"expected members, each once and no ensemble among them, found {', '.join(self.members) or 'none'}")
        if self.shares and (len(self.shares) != len(self.members) or min(self.shares) <= 0 or sum(self.shares) > 1 + ROUNDING):
            raise ValueError(f"expected one share above 0 for each of {len(self.members)} members, at most 1 together, found {self.shares}")
        return self


class ExecutionSettings(Section):
    """How orders reach a real market. The simulated venue knows none of this: it fills at the open what the bar's volume allows."""

    submission: Submission = Field(Submission.REST, description="wire that orders leave by, rest or stream; what became of them is always asked over REST")
    route: Route = Field(Route.MARKET, description="market sends orders whole; twap, vwap, pov and iceberg slice large ones; auto takes the cheapest")
    route_above: float = Field(10000.0, gt=0, description="notional from which an order is routed, in the quote currency")
    slices: int = Field(4, ge=2, le=50, description="most slices of one order")
    slice_seconds: float = Field(5.0, ge=0, le=600, description="wall time between two slices")
    pov_share: float = Field(0.1, gt=0, le=1, description="share of the traded volume a pov slice takes, fraction")
    passive_share: float = Field(0.5, ge=0, le=1, description="share of an iceberg slice expected to fill at the touch, fraction")
    maker_fee: float = Field(0.001, ge=0, lt=0.1, description="fee of an order that rested, fraction of notional")
    taker_fee: float = Field(0.001, ge=0, lt=0.1, description="fee of an order that crossed, fraction of notional")
    depth_share: float = Field(0.0, ge=0, le=1, description="largest share of the visible depth an order may take, fraction; 0 asks for no book")
    depth_bps: float = Field(25.0, gt=0, description="how far from the middle the book counts as visible depth, basis points")
    max_book_age_s: float = Field(2.0, gt=0, description="age in seconds from which a book is no answer")
    flows_every_s: float = Field(60.0, ge=0, description="seconds between two questions to the exchange whether money came or went")
    protect_within_s: float = Field(5.0, gt=0, description="seconds in which a protective stop must be seen resting; after them the position is closed")


class JournalSettings(Section):
    """How the session's journal is kept."""

    snapshot_steps: int = Field(1000, ge=1, description="steps between two snapshots, from which a restart reads on")
    stall_s: float = Field(5.0, gt=0, description="seconds within which an entry must be on the disk; a slower journal ends trading")


class PerpetualSettings(Section):
    """The margin account of a simulated venue, for symbols that name a contract (BTC/USDT:USDT)."""

    leverage: float = Field(5.0, ge=1, le=125, description="largest sum of absolute contract positions, in units of equity: what initial margin allows")
    maintenance: float = Field(0.005, ge=0, lt=1, description="share of the contract positions that equity must exceed, or they are closed, fraction")
    liquidation_fee: float = Field(0.0125, ge=0, lt=0.1, description="fee of a forced close besides the taker fee, fraction of notional")
    funding_rate: float = Field(0.0, ge=0, lt=0.1, description="what longs pay shorts every eight hours (UTC) where no rates are known, fraction of position")


class TradingSettings(Section):
    """The account, the policy and the costs."""

    quote: str = Field("USDT", description="currency the account is kept in")
    initial_cash: Decimal = Field(Decimal(100000), gt=0, description="cash of a fresh backtest or paper account, in the quote currency")
    gross_weight: float = Field(0.95, gt=0, le=5, description="capital split over all symbols when every exposure is 1, fraction of equity")
    rebalance_band: float = Field(0.02, ge=0, lt=1, description="smallest change of a symbol's weight worth trading, fraction of equity")
    fixed_units: float = Field(0.0, ge=0, description="base units held at full exposure; 0 sizes by weight of equity")
    policy: PolicySettings = PolicySettings()
    costs: CostSettings = CostSettings()
    execution: ExecutionSettings = ExecutionSettings()
    journal: JournalSettings = JournalSettings()
    protective_stop: float = Field(0.0, ge=0, lt=1, description="fall from the entry price at which a resting stop closes a position, fraction; 0 is none")
    trailing_stop: float = Field(0.0, ge=0, lt=1, description="fall from the best close since the entry at which the stop closes, fraction; 0 does not trail")
    take_profit: float = Field(0.0, ge=0, lt=10, description="gain on the entry price at which a position is closed, fraction; 0 is none; backtest and paper")
    carry_partials: bool = Field(False, description="whether what a bar's volume left of an order is sent again at the next close while the wish is the same")
    perpetual: PerpetualSettings = PerpetualSettings()
    paper_bars: int = Field(120, ge=1, description="bars of one paper window")
