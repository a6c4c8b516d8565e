"""Written abbreviations whose period is not, or not always, the end of a sentence. Pure data.

Lower case, without the last period.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Something always follows these: a name, a number, an example.
NEVER_FINAL = _words(
    """
    adm approx capt cf cmdr col cpl dr drs e.g eg fig figs gen gov hon i.e ie lt maj messrs mlle
    mme mr mrs ms mt mx nos op pp pres prof pvt rep rev sen sgt st supt viz vol vs
    bs gs pgs ths tp ts
    """  # the last line is Vietnamese: titles, and "city"
)

# The sentence ends there when a capital letter follows.
SOMETIMES_FINAL = _words(
    """
    a.d a.m am b.a b.c d.c e.u m.a m.d p.m ph.d pm u.k u.n u.s u.s.a
    apt ave blvd bros co corp dept est etc ext ft hr hrs hwy inc jr lb lbs ln ltd max min oz rd
    sec sr tel
    jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun
    """
)
