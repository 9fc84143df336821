"""Writes prefixes.txt: which time zones a telephone number may lie in, by its first digits.

    pip install phonenumbers==9.0.43
    python generate.py > prefixes.txt

The data is libphonenumber's, as the package phonenumbers carries it; see NOTICE.
"""

from collections import defaultdict

from phonenumbers.tzdata import TIMEZONE_DATA

# Zones whose clocks have agreed since 2007 count as one, so that votes can be compared by name.
SAME = {
    "America/Boise": "America/Denver",
    "America/North_Dakota/Center": "America/Chicago",
}

zones = {
    prefix: tuple(sorted({SAME.get(zone, zone) for zone in found}))
    for prefix, found in TIMEZONE_DATA.items()
    if found != ("Etc/Unknown",)
}


def shorter(prefix):
    """What the table says without this prefix."""
    for end in range(len(prefix) - 1, 0, -1):
        if prefix[:end] in zones:
            return zones[prefix[:end]]
    return None


groups = defaultdict(list)
for prefix, found in zones.items():
    if shorter(prefix) != found:
        groups["&".join(found)].append(prefix)

print("# Made by generate.py from libphonenumber's data (NOTICE): do not edit.")
print("# Zones, then the prefixes of numbers that lie in one of them. The longest prefix wins.")
for found in sorted(groups):
    print(found, *sorted(groups[found]))
