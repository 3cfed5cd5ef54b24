"""Alarms one can trust: three answers to "is this window different?", each with what it promises.

`anytime` keeps the chance of any false alarm over an endless stream under alpha. `quiet` learns each column's limit from the
windows in which nothing happened. `overtime` watches any number that every window has, such as the live metric.
"""
