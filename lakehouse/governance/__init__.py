"""Who may do what in a lake: grants, row filters, column masks, the audit log; and what is expected of its rows.

`tables` keeps what owners say, `policy` makes of it what one principal gets of one table, `session_scan` reads that,
`session` is the lake as a principal sees it, `audit` writes down what happened, and `owner` is what owners call.
"""
