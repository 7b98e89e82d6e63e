"""The admin's first page: how it goes with the deliveries, and what to look at.

periods.py has the times that can be shown, and their parts; traffic.py what became of the
deliveries made in them, by a sample of bounded size; page.py makes figures and charts of that, with
links to the lists behind them.
"""
