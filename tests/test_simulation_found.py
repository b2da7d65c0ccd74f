"""Programs that once broke a promise, shortened; a plain test tells each in words where it was mended."""

from __future__ import annotations

import pytest

from .simulation.happenings import Program
from .simulation.programs import run

FOUND: dict[str, tuple[int, Program]] = {
    # the archive had the UID in another study: it was sent and asked about for ever
    "a duplicate that is not shown": (12, [("foreign", 3110, 4034), ("put", 3254, 350)]),
    # its name was taken by a link while an answer about it was owed: no listing gave it again
    "a link in a file's place": (
        172,
        [("put", 2256, 2643), ("put", 2506, 1340), ("put", 2714, 3351), ("preallocate", 2008, 525),
         ("live", 3068, 206), ("copy", 1332, 2389), ("begin", 2908, 3636), ("rename", 744, 791),
         ("clock", 13, 1414), ("turn", 1487, 1580), ("special", 2768, 1659), ("again", 250, 1639)],
    ),
    # the turn that planned a request could not be committed: the daemon waited for that request
    "a request that was planned and never went": (
        1000387,
        [("put", 643, 2055), ("answers", 327, 2660), ("live", 2308, 3767), ("ledger", 3223, 4061),
         ("clock", 1256, 3064), ("turn", 3935, 695)],
    ),
    # the conflict that a file had held was taken out while that file was being read: the loop broke
    "an instance taken out meanwhile": (
        4000427,
        [("put", 2842, 1362), ("rename", 2081, 3184), ("put", 161, 1946), ("copy", 1367, 721),
         ("replace", 2681, 874), ("put", 895, 3044), ("while_sent", 1591, 3575), ("edit", 1606, 1299),
         ("put", 469, 1623), ("live", 605, 1435), ("rename", 2694, 2352), ("live", 2007, 538),
         ("ledger", 1105, 2544), ("begin", 1990, 3888), ("grow", 2820, 3957), ("put", 1343, 688),
         ("turn", 2637, 617), ("clock", 2631, 989)],
    ),
    # it was being deleted as the daemon started again with its clock set back, and then it was not
    "a deletion undone after the clock was set back": (
        3000493,
        [("put", 3974, 4002), ("live", 884, 3266), ("command", 2245, 1032), ("turn", 3964, 2101),
         ("power_cut", 612, 3508), ("clock", 1108, 2618)],
    ),
    # its file became one of another study: the archive was asked there, and the second sent over the first
    "a lost answer about what is in another study now": (
        4000804,
        [("begin", 1924, 816), ("put", 1863, 2318), ("grow", 2995, 3114), ("grow", 1610, 1142),
         ("live", 143, 1970), ("away", 3, 564), ("grow", 637, 2640), ("hints", 241, 2413),
         ("answers", 2066, 2311), ("live", 2972, 4026), ("edit", 3523, 3390)],
    ),
    # a folder that had hung for an hour was left alone for ten
    "a rest after a hang": (
        4001498,
        [("turn", 262, 3524), ("clock", 2016, 935), ("clock", 3378, 1283), ("live", 374, 1337),
         ("put", 3121, 3932)],
    ),
    # it was compared with a file whose name a link had taken, and again, and again
    "a comparison with a link": (
        5000134,
        [("replace", 3496, 3024), ("put", 2906, 218), ("live", 2159, 2803), ("rename", 1662, 2595),
         ("special", 3598, 2498)],
    ),
    # each waited for the other to be looked at
    "two files that change places": (
        7000276,
        [("put", 792, 1983), ("condition", 911, 3943), ("junk", 1154, 3444), ("begin", 3120, 933),
         ("grow", 2061, 79), ("live", 1868, 782), ("ledger", 1317, 2244), ("copy", 3182, 1532),
         ("rename", 3845, 381), ("link", 124, 2799)],
    ),
    # its start found a full disk half way: the next one took the new, empty ledger for the first of all
    "a ledger half made anew": (
        72,
        [("put", 2263, 3765), ("while_sent", 1180, 3307), ("live", 3251, 3497), ("ledger", 2775, 3406),
         ("ledger_lost", 844, 1953), ("turn", 2939, 1966)],
    ),
    # the clock was set back before: the file seemed younger than the loss
    "a ledger lost on a clock set back": (
        142,
        [("while_sent", 4018, 929), ("away", 3014, 173), ("put", 2262, 3112), ("ledger", 1817, 860),
         ("ledger", 3892, 3744), ("live", 417, 310), ("edit", 709, 2771), ("clock", 166, 3899),
         ("ledger_lost", 3436, 1206)],
    ),
    # what the archive had was not in the new ledger, and the file came back to it
    "a conflict that ends by itself": (
        309,
        [("replace", 311, 3821), ("link", 4055, 4080), ("copy", 3170, 1394), ("rename", 2755, 262),
         ("replace", 866, 1105), ("rename", 1592, 3334), ("live", 1745, 1438), ("ledger_lost", 3078, 118),
         ("put", 1811, 1501), ("move_tree", 1029, 1156), ("junk", 957, 1187), ("edit", 3843, 2929),
         ("live", 2469, 3806), ("edit", 2806, 3234)],
    ),
    # the judge did not know a padded file of another study for one
    "a ledger lost twice": (
        19000418,
        [("set_back_in_doubt", 217, 2286), ("crash", 3979, 3540), ("begin", 3358, 1880), ("put", 1046, 379),
         ("live", 2662, 564), ("preallocate", 1259, 3325), ("rename", 1361, 280),
         ("set_back_in_doubt", 1490, 3130)],
    ),
    # it came back and a person had it deleted, in one turn: the judge knew of no such step
    "a deletion of what has just come back": (
        4000240,
        [("move_tree", 3401, 1394), ("put", 2822, 3051), ("live", 1322, 1879), ("overwrite", 1705, 2765),
         ("live", 351, 1892), ("beside", 2688, 3910), ("put", 4053, 418), ("begin", 2166, 3198),
         ("beside", 2241, 408), ("comes_back", 896, 2549), ("junk", 1701, 1897), ("put", 3440, 2816),
         ("put", 3441, 900), ("rename", 423, 644), ("late_look", 2874, 235), ("remove", 3291, 3710),
         ("all_at_once", 603, 3474)],
    ),
    # what had lain on a disk mounted below was never given up, and kept all others of its folder back
    "a removal from a nested mount": (
        4,
        [("mirror", 3363, 4029), ("mount", 1160, 2662), ("mistake", 3805, 3868)],
    ),
    # its name was taken by the next instance: likewise
    "a removal whose name is taken": (
        25,
        [("mirror", 2164, 610), ("mistake", 1267, 2949), ("long", 1683, 2823), ("fresh", 3897, 384),
         ("fresh", 2236, 860), ("fresh", 834, 1383)],
    ),
    # what the patterns had left out was there all the time, and was taken for live when they did no more
    "patterns that leave out less": (
        72,
        [("mirror", 2904, 95), ("fresh", 2469, 1935), ("fresh", 3686, 912), ("fresh", 390, 1982),
         ("rename", 1472, 3106), ("long", 1183, 1234), ("hints", 843, 2613), ("mistake", 399, 1248),
         ("move_tree", 810, 1767)],
    ),
    # room for its copy came late: the judge looked while it was being deleted
    "a deletion that is under way": (
        215,
        [("mirror", 834, 2880), ("long", 796, 1702), ("fresh", 35, 360), ("mistake", 2661, 1169),
         ("mistake", 2547, 1967), ("mistake", 1857, 3885), ("remove", 3809, 2004), ("again", 3557, 3278),
         ("mistake", 957, 1356), ("long", 3982, 2507)],
    ),
    # nothing had been recorded since the copy was taken: the judge took the ledger for lost
    "a copy that is all there was": (
        101000087,
        [("mirror", 2058, 513), ("mistake", 219, 505), ("ledger", 3376, 1419), ("ledger_lost", 1127, 2059),
         ("ledger_lost", 30, 3243)],
    ),
    # the judge did not know what it held, as it was padded
    "a padded file that left": (
        101000719,
        [("mirror", 1734, 2697), ("junk", 1387, 0), ("put", 799, 335), ("mistake", 1986, 1543),
         ("fresh", 425, 1239), ("put", 1065, 3825), ("ledger", 589, 333), ("ledger", 3594, 367),
         ("fresh", 431, 1988), ("fresh", 1914, 1260), ("remove", 2908, 2170), ("copy", 337, 453),
         ("put", 1085, 3556), ("preallocate", 4086, 3257), ("rename", 4035, 257), ("fresh", 3925, 406),
         ("rename", 504, 453), ("remove", 1867, 1893), ("grow", 42, 2047), ("fresh", 3339, 3803),
         ("replace", 3037, 3598), ("fresh", 1227, 2464), ("mistake", 3960, 226), ("link", 384, 2870),
         ("preallocate", 1011, 4058), ("fresh", 2171, 2103), ("remove", 3923, 3031)],
    ),
    # what lay in a directory that could not be read, and was then left out, counted as live for the guards
    "a directory that cannot be read any more": (
        102000430,
        [("mirror", 2570, 2336), ("enrol", 3039, 3236), ("mistake", 1566, 2661), ("fresh", 1958, 217),
         ("fresh", 3145, 2710), ("unreadable", 1703, 3558), ("fresh", 2521, 293), ("replace", 3336, 1131),
         ("fresh", 379, 3065), ("fresh", 209, 504), ("remove", 2507, 337), ("fresh", 710, 3899),
         ("mistake", 2391, 2785), ("rename", 3991, 2946), ("mount", 1200, 3741), ("mistake", 1244, 3668),
         ("mirror", 1714, 3321), ("remove", 899, 331), ("long", 3050, 977)],
    ),
    # it was moved, and hidden below a mount before anybody could see it: the judge wanted it spared
    "a file that was hidden at once": (
        104000107,
        [("mirror", 960, 574), ("fresh", 2144, 2006), ("mistake", 2479, 1517), ("rename", 2337, 1727),
         ("mount", 351, 2459)],
    ),
    # evidence began again as it was being deleted: it counted in no guard any more
    "a deletion under way as the clock was set back": (
        23000096,
        [("mirror", 2658, 2583), ("enrol", 2713, 577), ("enrol", 1930, 11), ("live", 1195, 6),
         ("fresh", 2971, 2461), ("fresh", 3567, 2734), ("mistake", 1037, 1432), ("fresh", 1222, 4088),
         ("remove", 3820, 2486), ("fresh", 1100, 1541), ("long", 428, 554), ("clock", 1306, 832),
         ("mistake", 2446, 852)],
    ),
    # another file took the name of one that was hidden at once: the judge wanted the first one spared
    "a name taken on a mounted disk": (
        1000219,
        [("mirror", 790, 930), ("preallocate", 234, 1960), ("fresh", 1581, 99), ("fresh", 285, 3895),
         ("long", 1165, 2203), ("fresh", 3619, 1272), ("replace", 3580, 1319), ("fresh", 3854, 1636),
         ("mount", 1259, 49), ("fresh", 28, 1918), ("move_tree", 2038, 1172)],
    ),
    # the archive had it padded, and the file was not any more: the judge knew it the other way only
    "a file without the padding that it had": (
        11000089,
        [("preallocate", 3265, 372), ("grow", 2198, 2038), ("live", 3194, 1589), ("begin", 2186, 3132),
         ("late_look", 1062, 3313), ("put", 2229, 3351)],
    ),
    # it was moved over a file that the patterns leave out by now: the judge wanted it spared
    "a file moved to where nobody looks": (
        4001209,
        [("enrol", 704, 1318), ("fresh", 2554, 3413), ("put", 639, 3776), ("fresh", 1483, 1237),
         ("link_elsewhere", 687, 788), ("fresh", 2569, 2840), ("fresh", 2424, 2259),
         ("mirror", 1225, 3322), ("mistake", 28, 4070), ("fresh", 256, 2354),
         ("link_elsewhere", 2690, 2684), ("link", 2910, 1142), ("mistake", 3576, 3019),
         ("mistake", 3441, 2372), ("long", 716, 421)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once_is_found_no_more(name: str) -> None:
    seed, program = FOUND[name]
    assert not run(seed, program).broken
