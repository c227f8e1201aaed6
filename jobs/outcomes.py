"""How a worker may end short of finishing its shard. Anything else it raises fails the attempt."""


class ComeBackLater(Exception):
    """Stopped at a batch, or an outage outlasted the wait: no failure; the rest is done another time."""


class WrongConfiguration(Exception):
    """No attempt can succeed before somebody changes something: `code` for machines, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


EXIT_COME_BACK = 75  # EX_TEMPFAIL of sysexits.h
EXIT_WRONG_CONFIGURATION = 78  # EX_CONFIG
