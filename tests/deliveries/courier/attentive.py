"""What a worker is to include so that its log tells of Celery's signals."""

import logging
from typing import Any

from celery.signals import worker_process_init, worker_ready, worker_shutdown

logger = logging.getLogger(__name__)


@worker_process_init.connect
@worker_ready.connect
@worker_shutdown.connect
def tell(signal: Any, **_: Any) -> None:
    logger.warning("heard %s", signal.name)
