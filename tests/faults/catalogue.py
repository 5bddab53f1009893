from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ORDER, REPLACE, OPEN, TRADES, ACCOUNT = "/api/v3/order", "/api/v3/order/cancelReplace", "/api/v3/openOrders", "/api/v3/myTrades", "/api/v3/account"
KLINES, INFO, CONTRACT_ORDER = "/api/v3/klines", "/api/v3/exchangeInfo", "/fapi/v1/order"
POST = {"method": "POST", "path": ORDER}
DELETE = {"method": "DELETE", "path": ORDER}
REPORT = {"stream": "user", "event": "executionReport"}
CANDLES = {"stream": "*@kline_*", "event": "kline"}
BOOK = {"stream": "*@depth*", "event": "depthUpdate"}

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    number: int
    group: str
    title: str
    faults: tuple[Body, ...] = ()  # bodies for POST /faults of the admin port, in this order
    action: str = ""  # what else is done: to the market, to the account, to a process


SUBMISSION, CANCEL, NUMBERS, PROTECTION = "submission", "cancel and edit", "partial fills, dust, precision, numbers", "protection"
RESTART, SOCKETS, MARKET, LIMITS = "restart and reconciliation", "websocket", "market data", "limits, time, authority"

ROWS = (
    Row(1, SUBMISSION, "an order times out and is live", ({"kind": "hang", **POST},)),
    Row(2, SUBMISSION, "the connection is reset after execution", ({"kind": "drop", **POST},)),
    Row(
        3,
        SUBMISSION,
        "overloaded, and the same id fills seconds later",
        ({"kind": "error", **POST, "status": 503, "code": -1008, "msg": "Server is currently overloaded with other requests. Please try again."},),
    ),
    Row(
        4,
        SUBMISSION,
        "-1007, status unknown",
        (
            {
                "kind": "error",
                **POST,
                "status": 408,
                "code": -1007,
                "msg": "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
            },
        ),
    ),
    Row(5, SUBMISSION, "504 without an id", ({"kind": "http", **POST, "status": 504},)),
    Row(6, SUBMISSION, "a layer below sends the order again", ({"kind": "duplicate", **POST},)),
    Row(7, SUBMISSION, "200 with a page, then 200 with nothing: no id", ({"kind": "html", **POST}, {"kind": "empty", **POST, "status": 200, "nth": 2})),
    Row(8, SUBMISSION, "the answer is cut after execution", ({"kind": "truncate", **POST},)),
    Row(
        9,
        SUBMISSION,
        "reads lag: -2013 for a live order",
        ({"kind": "drop", **POST}, {"kind": "lag_reads", "method": "GET", "path": "/api/v3/*", "times": 4}),
    ),
    Row(
        10,
        SUBMISSION,
        "errors of another kind are no not-founds",
        ({"kind": "drop", **POST}, {"kind": "error", "method": "GET", "path": ORDER, "times": 5, "status": 500, "code": -1000}),
    ),
    Row(11, SUBMISSION, "several creations in a row time out", ({"kind": "error", **POST, "times": 3, "status": 408, "code": -1007},)),
    Row(
        12,
        SUBMISSION,
        "overloaded again and again, and all of them fill",
        ({"kind": "error", **POST, "times": 0, "status": 503, "code": -1008, "msg": "Server is currently overloaded with other requests."},),
    ),
    Row(
        13,
        SUBMISSION,
        "filled at once: not among the open orders",
        ({"kind": "drop", **POST}, {"kind": "error", "method": "GET", "path": ORDER, "status": 503, "code": -1000}),
    ),
    Row(14, SUBMISSION, "a client id is accepted again after its fill", (), "place a market order twice with one client id"),
    Row(
        15,
        SUBMISSION,
        "refused, then a crash: no ghost is left",
        ({"kind": "error", **POST, "before": True, "status": 400, "code": -2010, "msg": "Account has insufficient balance for requested action."},),
        "kill -9 of the trader between answer and booking, then a restart",
    ),
    Row(
        16,
        CANCEL,
        "a cancel loses the race to a fill",
        ({"kind": "delay", **DELETE, "before": True, "seconds": 0.5},),
        "advance while the cancel is on its way",
    ),
    Row(17, CANCEL, "a cancel is acknowledged, the order is still live", ({"kind": "empty", **DELETE, "before": True, "status": 200},)),
    Row(18, CANCEL, "the transport sends a cancel twice", ({"kind": "duplicate", **DELETE},)),
    Row(
        19,
        CANCEL,
        "cancel-replace half done: the old one is gone, the new one refused",
        (),
        "replace an order by one that the balance does not cover, with STOP_ON_FAILURE: 409 with -2021",
    ),
    Row(20, CANCEL, "a cancel overtakes its creation", ({"kind": "reorder", **POST, "seconds": 2.0},)),
    Row(
        21,
        CANCEL,
        "the stop to cancel is missing, again after a restart",
        ({"kind": "error", **DELETE, "before": True, "times": 0, "status": 400, "code": -2011, "msg": "Unknown order sent."},),
        "kill -9 of the trader after the first refusal, then a restart",
    ),
    Row(
        22,
        CANCEL,
        "an order is recognised long after it was sent",
        ({"kind": "drop", **POST}, {"kind": "lag_reads", "method": "GET", "path": "/api/v3/*", "times": 30}),
    ),
    Row(23, NUMBERS, "partial fill, then cancel: the rest is below the least notional", (), "take most of a bar's volume with a limit order, advance, cancel"),
    Row(24, NUMBERS, "no stop is possible on a tiny partial fill", (), "as 23, with a protective stop configured"),
    Row(25, NUMBERS, "the price falls and the stop's notional becomes illegal", (), "a tape that falls, with a protective stop configured"),
    Row(26, NUMBERS, "the fee is taken out of what was bought", (), "buy, then close the position"),
    Row(27, NUMBERS, "a price of NaN must not become a market order", (), "hand a limit order with price NaN to the venue"),
    Row(28, NUMBERS, "price and average are missing", ({"kind": "html", "method": "GET", "path": ORDER}, {"kind": "drop", **POST})),
    Row(29, NUMBERS, "an amount of NaN or None", (), "hand an order with quantity NaN to the venue"),
    Row(30, NUMBERS, "limits of a market are NaN", (), "an instrument without least notional"),
    Row(31, PROTECTION, "the stop filled, nobody told", ({"kind": "suppress_event", **REPORT, "times": 0},), "advance through the stop"),
    Row(32, PROTECTION, "no stop is placed for a closed position", ({"kind": "delay", **REPORT, "times": 0, "seconds": 0.5},), "close the position, advance"),
    Row(
        33,
        PROTECTION,
        "stops moved to another path overnight",
        (
            {
                "kind": "error",
                "method": "POST",
                "path": CONTRACT_ORDER,
                "before": True,
                "times": 0,
                "status": 400,
                "code": -4120,
                "msg": "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
            },
        ),
    ),
    Row(34, PROTECTION, "a stop-limit triggers and does not fill", (), "a stop-limit whose limit is beyond the gap; advance over the gap"),
    Row(35, PROTECTION, "a stop fills in part", (), "a stop larger than a tenth of the next bar's volume; advance"),
    Row(
        36,
        PROTECTION,
        "an orphan stop opens a new position",
        ({"kind": "drop", **DELETE, "before": True, "times": 2},),
        "close the position while its stop rests",
    ),
    Row(
        37,
        PROTECTION,
        "a resting reduce-only order is in the way of an emergency close",
        (
            {
                "kind": "error",
                "method": "POST",
                "path": CONTRACT_ORDER,
                "before": True,
                "status": 400,
                "code": -4118,
                "msg": "ReduceOnly Order Failed. Please check your existing position and open orders.",
            },
        ),
    ),
    Row(38, PROTECTION, "reduce-only is clamped at the fill and never flips", (), "two reduce-only orders of the whole position on the contract side; advance"),
    Row(39, RESTART, "the venue's quantity differs from the rebuilt one", (), "trade by another client with the same key while the trader is down"),
    Row(
        40,
        RESTART,
        "a working order is dropped while reconciling",
        ({"kind": "lag_reads", "method": "GET", "path": OPEN, "times": 2},),
        "restart with an order resting",
    ),
    Row(
        41,
        RESTART,
        "a fill is booked twice after a restart",
        ({"kind": "duplicate", **REPORT, "times": 0},),
        "kill -9 of the trader after a fill, then a restart",
    ),
    Row(
        42,
        RESTART,
        "an inferred fill, then the real one",
        ({"kind": "empty", "method": "GET", "path": TRADES, "status": 200, "times": 2}, {"kind": "drop", **POST}),
    ),
    Row(43, RESTART, "the key is kept before the fill is applied", (), "kill -9 of the trader at the crash point between fill and booking"),
    Row(44, RESTART, "reconciliation differs from restart to restart", (), "restart twice from the same journal and the same exchange state"),
    Row(45, RESTART, "orders and fills that are nobody's", (), "place an order by another client with the same key"),
    Row(46, RESTART, "the wallet is stale at the exit", ({"kind": "lag_reads", "method": "GET", "path": ACCOUNT, "times": 3},)),
    Row(
        47,
        RESTART,
        "history is limited to a window",
        (
            {
                "kind": "error",
                "method": "GET",
                "path": TRADES,
                "before": True,
                "times": 0,
                "status": 400,
                "code": -4166,
                "msg": "Search window is restricted to recent 90 days only.",
            },
        ),
    ),
    Row(48, RESTART, "money arrives that nobody traded for", (), "deposit of an asset on the admin port while a session runs"),
    Row(49, SOCKETS, "a socket is half open: no data, no error", ({"kind": "freeze_ws"},)),
    Row(
        50,
        SOCKETS,
        "a fill during a disconnect is never told again",
        ({"kind": "close_ws", "stream": "user", "event": "executionReport"},),
        "advance while disconnected",
    ),
    Row(51, SOCKETS, "a healthy stream drops the frames of fills", ({"kind": "suppress_event", **REPORT, "times": 0},)),
    Row(52, SOCKETS, "the listen key expires, or somebody deletes it", ({"kind": "expire_listen_key"},)),
    Row(
        53,
        SOCKETS,
        "the book has a gap, then frames out of order, then a number that stands still",
        ({"kind": "suppress_event", **BOOK, "nth": 2}, {"kind": "reorder", **BOOK, "nth": 4}, {"kind": "skip_seq", **BOOK, "nth": 6, "gap": -1}),
    ),
    Row(
        54,
        SOCKETS,
        "an old filled event is told again at a cancel",
        ({"kind": "stale_event", **REPORT, "nth": 4, "back": 2},),
        "fill one order, place and cancel another",
    ),
    Row(55, SOCKETS, "too many subscriptions: closed with 1008", ({"kind": "close_ws", "close_code": 1008},)),
    Row(56, SOCKETS, "old frames come after a reconnect", ({"kind": "close_ws"}, {"kind": "stale_event", **CANDLES, "nth": 1, "times": 3, "back": 2})),
    Row(57, MARKET, "the candle that forms is taken for a closed one", ({"kind": "suppress_event", **CANDLES, "nth": 1},)),
    Row(58, MARKET, "candles are missing after an outage", (), "a recorded tape in which three hours are missing"),
    Row(
        59,
        MARKET,
        "dropping the last candle blindly loses a closed one",
        (),
        "ask for candles at a boundary where a symbol has no forming bar (a tape with gaps)",
    ),
    Row(60, MARKET, "fewer rows than asked for", (), "an exchange with --history-bars below the warm-up"),
    Row(61, MARKET, "pages are cut silently", ({"kind": "truncate", "method": "GET", "path": KLINES, "nth": 2},), "more bars than one page holds"),
    Row(62, MARKET, "delisted: an empty book and a price of 0", ({"kind": "delist", "symbol": "BTCUSDT"},)),
    Row(63, LIMITS, "the clock is off, ahead and behind", ({"kind": "skew_clock", "skew_ms": 10_000}, {"kind": "skew_clock", "skew_ms": -10_000})),
    Row(64, LIMITS, "banned: 418", ({"kind": "ban", "seconds": 30},)),
    Row(65, LIMITS, "the budget is used up by somebody else", ({"kind": "weight", "weight": 6000},)),
    Row(66, LIMITS, "a storm of market reloads", ({"kind": "error", "method": "GET", "path": INFO, "times": 3, "status": 500, "code": -1000},)),
    Row(67, LIMITS, "the key is revoked while trading", ({"kind": "expire_key", **POST, "before": True, "nth": 2},)),
    Row(68, LIMITS, "maintenance: 200 and an error in the body", ({"kind": "maintenance", "path": "/api/v3/*", "times": 5},)),
)
