"""The contrast methods, a module each; ``METHODS`` finds them. To add one, add a module.

Notation: ``p_u`` is the upper exit's distribution, ``p_l`` a lower exit's, and ``V`` the plausible set of ``p_u``
(``plausible.py``).
"""
