"""Is anybody accused who is right? Random right GRUs on random problems, judged.

Nothing here is isogru's own arithmetic: loops in NumPy with gradients by hand, which differ as right ones do.
"""
