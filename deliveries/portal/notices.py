"""What a page says of that which was just done.

The address names one by its key, so that nothing has to be kept between two requests.
"""

NOTICES = {
    "added": "The endpoint is added. Show its signing secret, and give it to your receiver.",
    "saved": "Your changes are saved.",
    "paused": "The endpoint is paused: its deliveries are held.",
    "closed": "The circuit is closed: deliveries go out again.",
    "resumed": "The endpoint is resumed: what was held follows within seconds.",
    "challenged": "The endpoint is sent a challenge; its deliveries are held until it answers.",
    "deleted": "The endpoint is deleted.",
    "subscribed": "The subscription is added.",
    "unsubscribed": "The subscription is deleted.",
    "rotated": "The endpoint has a new signing secret. The one before goes on signing for a while.",
    "expired": "Only the newest signing secret signs now.",
    "retried": "The delivery is on its way again.",
    "replayed": "The delivery is sent once more.",
    "not-replayed": "It has not ended yet: it is on its way already.",
    "not-retried": "There was nothing to try again: see how the delivery stands now.",
    "replay-started": "The replay is on its way.",
    "replay-changed": "The replay is changed.",
    "replay-ended": "The replay had ended before.",
    "redriven": "The deliveries are on their way again.",
    "not-redriven": "Nothing was redriven: choose dead letters first.",
}
