"""`python -m tests.faults.hasty …`: Celery's command line, on a broker that waits for a second."""

from celery.__main__ import main

from config.celery import app

if __name__ == "__main__":
    app.conf.broker_transport_options = {"visibility_timeout": 1}
    main()
