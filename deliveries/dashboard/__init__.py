"""The admin's first page: how it goes with the deliveries, and what to look at.

periods.py has the times that can be shown, and their parts; traffic.py what became of the
deliveries made in them, by a sample of bounded size. figures.py and page.py put that into words and
charts, each with a link (links.py) to the list behind it.
"""
