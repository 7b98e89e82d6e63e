from tests.end_to_end.conftest import beat, empty_queue, lane, quick_schedules, worker

__all__ = ["beat", "empty_queue", "lane", "quick_schedules", "worker"]
