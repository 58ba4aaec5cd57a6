"""Checks of what users hand in; each has one home: arguments, arrays, geometry of windows, weights of examples."""
