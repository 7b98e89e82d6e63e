FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1
WORKDIR /app

COPY pyproject.toml constraints.txt README.md LICENSE manage.py ./
COPY config config
COPY webhooks webhooks
COPY subscriptions subscriptions
COPY deliveries deliveries
RUN pip install --constraint constraints.txt --editable ".[service,otel]" \
    && DEBUG=1 python manage.py collectstatic --no-input \
    && useradd --system --uid 10001 --no-create-home angarium

USER angarium
EXPOSE 8000
CMD ["gunicorn", "config.wsgi", "--config", "python:config.gunicorn", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "8", "--no-control-socket"]
