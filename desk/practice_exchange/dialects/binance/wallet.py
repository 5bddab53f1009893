"""The wallet's routes (sapi): coins, rights, fees, deposits and withdrawals, and what the account is worth."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from desk.practice_exchange.dialects.binance.errors import forbidden, malformed, missing, translated
from desk.practice_exchange.dialects.binance.filters import fixed
from desk.practice_exchange.dialects.binance.routes import Directory, Parameters, Route, always, integer, page, range_of
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.ledger import ZERO
from desk.practice_exchange.orders import Transfer
from desk.practice_exchange.refusals import Refusal

DEPOSITED, WITHDRAWN = 1, 6  # both: completed
NETWORK = "PRACTICE"
QUOTE = "USDT"


class Wallet:
    """Everything about the account that is not trading."""

    def __init__(self, exchange: Exchange, directory: Directory) -> None:
        self._exchange = exchange
        self._directory = directory

    def routes(self) -> dict[tuple[str, str], Route]:
        """Keyed by (method, path). The wallet's paths have a weight counter of their own, so they are free here."""
        table = {
            ("GET", "capital/config/getall"): self.coins,
            ("GET", "capital/deposit/hisrec"): self.deposits,
            ("GET", "capital/withdraw/history"): self.withdrawals,
            ("POST", "capital/withdraw/apply"): self.withdraw,
            ("GET", "margin/allPairs"): lambda _: [],
            ("GET", "margin/isolated/allPairs"): lambda _: [],
            ("GET", "account/apiRestrictions"): self.restrictions,
            ("GET", "asset/tradeFee"): self.trade_fees,
            ("GET", "asset/wallet/balance"): self.worth,
            ("GET", "bnbBurn"): self.burn,
            ("POST", "bnbBurn"): self.switch_burn,
        }
        signed = {(method, f"/sapi/v1/{path}"): Route(handler, always(0), signed=True) for (method, path), handler in table.items()}
        return {**signed, ("GET", "/sapi/v1/system/status"): Route(lambda _: {"status": 0, "msg": "normal"}, always(0))}

    def coins(self, given: Parameters) -> Any:
        """Every asset."""
        return [self._coin(asset) for asset in sorted(self._exchange.ledger.accounts)]

    def restrictions(self, given: Parameters) -> Any:
        """What the key may do."""
        terms = self._exchange.terms
        rights = {"enableReading": terms.reading, "enableSpotAndMarginTrading": terms.trading, "enableWithdrawals": terms.withdrawals}
        refused = ("enableInternalTransfer", "permitsUniversalTransfer", "enableMargin", "enableFutures", "enableVanillaOptions")
        return {"ipRestrict": True, "createTime": self._exchange.tape.history_until_ms, **rights, **dict.fromkeys(refused, False)}

    def trade_fees(self, given: Parameters) -> Any:
        """The commission of one symbol or of all."""
        rate = fixed(self._exchange.costs.fee_rate)
        only = [self._directory.symbol(given)] if "symbol" in given else self._directory.listed()
        return [{"symbol": self._directory.listing(symbol).id, "makerCommission": rate, "takerCommission": rate} for symbol in only]

    def worth(self, given: Parameters) -> Any:
        """What the spot wallet is worth in one asset; what has no market against it counts as nothing."""
        quote = given.get("quoteAsset", QUOTE)
        accounts = self._exchange.ledger.accounts
        total = sum(((self._exchange.price_of(asset, quote) or ZERO) * (each.free + each.locked) for asset, each in accounts.items()), ZERO)
        return [{"activate": True, "balance": fixed(total), "walletName": "Spot"}]

    def burn(self, given: Parameters) -> Any:
        """Whether commission is paid in the exchange's coin."""
        return {"spotBNBBurn": self._exchange.terms.burn, "interestBNBBurn": False}

    def switch_burn(self, given: Parameters) -> Any:
        """Pay commission in the exchange's coin, or no longer."""
        wanted = given.get("spotBNBBurn", "").lower()
        if wanted not in ("true", "false"):
            raise missing("spotBNBBurn")
        self._exchange.agree(burn=wanted == "true")
        return self.burn(given)

    def deposits(self, given: Parameters) -> Any:
        """Money that came in, newest first."""
        return [self._deposit(each) for each in self._transfers(given, 1)]

    def withdrawals(self, given: Parameters) -> Any:
        """Money that went out, newest first."""
        return [self._withdrawal(each) for each in self._transfers(given, -1)]

    def withdraw(self, given: Parameters) -> Any:
        """Send money out: only with a key that may, which by default none may."""
        if not self._exchange.terms.withdrawals:
            raise forbidden()
        for name in ("coin", "address", "amount"):
            if not given.get(name):
                raise missing(name)
        if not given["amount"].replace(".", "", 1).isdigit():
            raise malformed("amount", "[0-9.]")
        try:
            made = self._exchange.transfer(given["coin"], -Decimal(given["amount"]))
        except Refusal as refusal:
            raise translated(refusal) from refusal
        return {"id": str(made.id)}

    def _transfers(self, given: Parameters, sign: int) -> list[Transfer]:
        asked, coin, skipped = range_of(given), given.get("coin"), integer(given, "offset") or 0
        found = [each for each in self._exchange.transfers if sign * each.amount > 0 and coin in (None, each.asset) and asked.holds(each.at_ms)]
        return page(found[::-1][skipped:], asked.limit, forward=True)

    def _deposit(self, each: Transfer) -> Any:
        network = {"network": NETWORK, "address": NETWORK, "addressTag": "", "transferType": 0, "confirmTimes": "1/1", "unlockConfirm": 0, "walletType": 0}
        ids = {"id": str(each.id), "txId": f"practice-{each.id}", "insertTime": each.at_ms, "completeTime": each.at_ms}
        return {**ids, "amount": fixed(each.amount), "coin": each.asset, "status": DEPOSITED, **network}

    def _withdrawal(self, each: Transfer) -> Any:
        network = {"network": NETWORK, "address": NETWORK, "transferType": 0, "info": "", "confirmNo": 1, "walletType": 0, "txKey": ""}
        at = _moment(each.at_ms)
        ids = {"id": str(each.id), "txId": f"practice-{each.id}", "applyTime": at, "completeTime": at}
        return {**ids, "amount": fixed(-each.amount), "transactionFee": "0", "coin": each.asset, "status": WITHDRAWN, **network}

    def _coin(self, asset: str) -> Any:
        account, terms = self._exchange.ledger.of(asset), self._exchange.terms
        still = dict.fromkeys(("freeze", "withdrawing", "ipoing", "ipoable", "storage"), "0")
        rights = {"depositAllEnable": True, "withdrawAllEnable": terms.withdrawals, "isLegalMoney": False, "trading": True}
        return {"coin": asset, "name": asset, "free": fixed(account.free), "locked": fixed(account.locked), **still, **rights, "networkList": []}


def _moment(instant_ms: int) -> str:
    """As the wallet writes times: seconds, UTC."""
    return datetime.fromtimestamp(instant_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
