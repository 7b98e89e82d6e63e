"""Stock Celery with the task that people write first: POST it with requests."""

import os

import requests

from tests.bench.noop import app

session = requests.Session()


@app.task(name="posting")
def posting(message: str) -> None:
    session.post(
        os.environ["BENCH_URL"], json={"id": message}, headers={"webhook-id": message}, timeout=5
    )
