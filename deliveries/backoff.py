"""When to try again. Plain functions on plain numbers; every time is in seconds."""

from collections.abc import Sequence


def wait_before_retry(
    tries: int,
    schedule: Sequence[float],
    *,
    stretch: float = 0.0,
    retry_after: float | None = None,
    retry_after_max: float = 0.0,
) -> float | None:
    """How long to wait after the failure of try number `tries` (from 1); None to give up.

    `stretch` is the share by which this wait grows: the jitter that keeps the retries of one outage
    from coming back together. An endpoint's Retry-After (RFC 9110, section 10.2.3) can put a retry
    off, up to `retry_after_max`, and never brings it forward.
    """
    if tries > len(schedule):
        return None
    wait = schedule[tries - 1] * (1 + stretch)
    if retry_after is None:
        return wait
    return max(wait, min(retry_after, retry_after_max))
