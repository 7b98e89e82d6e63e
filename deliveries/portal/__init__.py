"""The portal: pages in which a subscriber sees to its own endpoints, and to nothing else.

`entering` lets in by a signed link, `gate` guards every page, `own` is all that a page can see.
"""
