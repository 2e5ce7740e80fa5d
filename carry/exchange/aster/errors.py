"""The venue's refusals: code and text in the body, the HTTP status beside them."""

from typing import Any


class Fault(Exception):
    """A request is answered with this error instead."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.status = status

    def body(self) -> dict[str, Any]:
        return {"code": self.code, "msg": self.text}


def missing(name: str) -> Fault:
    return Fault(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def bad_signature() -> Fault:
    return Fault(-1022, "Signature for this request is not valid.")


def no_such_order() -> Fault:
    return Fault(-2013, "Order does not exist.")


def unknown_order() -> Fault:
    return Fault(-2011, "Unknown order sent.")


def nonce_expired() -> Fault:
    return Fault(-4225, "Nonce Expired")
