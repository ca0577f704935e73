"""Where a network runs: boards, shells here and over SSH, and what holds of a place while it does.

Imports `devices` and below; times nothing. What is measured once of a machine (`limits`, `watcher`)
lies here with the state it holds for; a new way to reach a board, or a new fact, goes here.
"""
