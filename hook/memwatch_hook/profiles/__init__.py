"""Profiles: recordings over time, made in the app by a thread that is there only meanwhile.

Nothing of this is imported before somebody asks, and nothing that a recording switches on stays
on: not when it ends, is given up, loses its agent, or is inherited by a forked child.
"""
