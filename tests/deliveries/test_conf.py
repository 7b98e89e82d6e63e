from deliveries.conf import DeliverySettings


def test_a_receiver_has_the_time_that_standard_webhooks_recommends() -> None:
    assert 15 <= DeliverySettings().limits().timeout <= 30
