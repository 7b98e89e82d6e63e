"""`python -m tests.faults.hasty …`: Celery's command line, on a broker that waits for a second."""

from celery.__main__ import main

from config.celery import app

HASTE = {"visibility_timeout": 1, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}

if __name__ == "__main__":
    app.conf.broker_transport_options = HASTE
    main()
