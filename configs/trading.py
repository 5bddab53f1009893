"""Money, costs and how forecasts become positions."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from configs.section import Section
from configs.vocabulary import Route, Submission


class FeeTier(Section):
    """One line of a venue's fee schedule."""

    volume: float = Field(gt=0, description="notional traded in the 30 days before from which the tier holds, in the quote currency")
    taker: float = Field(ge=0, lt=0.1, description="fee of an order that crossed, fraction of notional")


class CostSettings(Section):
    """What a trade costs. The cost the optimiser fears is the cost the simulator charges."""

    fee_rate: float = Field(0.001, ge=0, lt=0.1, description="taker fee, fraction of notional")
    half_spread_bps: float = Field(1.0, ge=0, description="half of the quoted spread, basis points of price")
    impact_bps: float = Field(10.0, ge=0, description="square-root impact at 100 % participation in a bar's volume, basis points")
    participation_cap: float = Field(0.1, gt=0, le=1, description="largest share of a bar's volume our fills may take, fraction")
    fee_tiers: tuple[FeeTier, ...] = Field((), description="the venue's tiers above fee_rate, by ascending volume; reported beside what was charged")
    borrow_rate: float = Field(0.0, ge=0, lt=10, description="interest on what a short position borrowed, fraction a year; reported beside what was charged")


class PolicySettings(Section):
    """From forecast to exposure: long when the forecast clears the costs, flat when it falls away."""

    entry: float = Field(0.15, ge=0, description="forecast mean / forecast sd above which exposure is taken")
    exit: float = Field(0.0, description="forecast mean / forecast sd below which exposure is given back")
    allow_short: bool = Field(False, description="whether exposure may be negative; spot venues cannot")


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
    protect_within_s: float = Field(5.0, gt=0, description="seconds in which a protective stop must be seen resting; after them the position is closed")


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
    protective_stop: float = Field(0.0, ge=0, lt=1, description="fall from the entry price at which a resting stop closes a position, fraction; 0 is none")
    paper_bars: int = Field(120, ge=1, description="bars of one paper window")
