"""The admin's first page: how it goes with the deliveries, and what to look at.

periods.py has the times that can be shown, and their parts; traffic.py what became of the
deliveries made in them, by a sample of bounded size; queue.py how the queue was meanwhile.
figures.py and period_charts.py put that into words and charts, with links (links.py) to the lists
behind them; page.py puts them together.
"""
