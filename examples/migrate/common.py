"""What the two migrations share: the command line, requests, and the comparison of two catalogs."""

import argparse
import json
import sys
import urllib.error
import urllib.request


class Problem(Exception):
    """Ends the program with a message."""


class Missing(Problem):
    """What is read does not exist."""


def send(method, url, headers, data=None):
    """The JSON of the response."""
    try:
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        # Oracle's API has 400 for some ids that do not exist.
        kind = Missing if method == "GET" and error.code in (400, 404) else Problem
        raise kind(f"{method} {url}: {error.code} {error.read().decode(errors='replace')}")
    except urllib.error.URLError as error:
        raise Problem(f"{method} {url}: {error.reason}")
    except (OSError, ValueError) as error:
        raise Problem(f"{method} {url}: {error}")


def exists(read):
    try:
        read()
    except Missing:
        return False
    return True


def entries(catalog, name, id_name, fields):
    """The entries of a list in a file, after checking them."""
    if not isinstance(catalog[name], list):
        raise Problem(f"{name} must be a list")
    for one in catalog[name]:
        require(one, [id_name], f"an entry of {name}")
        if not isinstance(one[id_name], str):
            raise Problem(f"{name}: the id {one[id_name]!r} must be a string")
        require(one, fields, f"{one[id_name]} in {name}")
    return catalog[name]


def require(entry, names, what):
    """Checks that an entry of a file has the fields that the migration needs."""
    missing = [name for name in names if not isinstance(entry, dict) or name not in entry]
    if missing:
        raise Problem(f"{what} lacks {', '.join(missing)}")


def cleaned(value):
    """The value without fields that say nothing, and without the ids that each side gives."""
    if isinstance(value, dict):
        fields = {name: cleaned(field) for name, field in value.items() if name != "repositoryId"}
        return {name: field for name, field in fields.items() if field not in (None, "", [], {})}
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    return value


def flattened(value, name):
    """Pairs of a path and a value."""
    if isinstance(value, dict):
        for key, field in value.items():
            yield from flattened(field, f"{name}.{key}")
    else:
        yield name, value


def compare(expected, found):
    """Prints what differs between two sets of facts; returns the exit status."""
    differ = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    in_file, on_server = ({key.split(": ")[0] for key in facts} for facts in (expected, found))
    for about in sorted(in_file ^ on_server):
        print(f"{about}: only {'in the file' if about in in_file else 'on the server'}")
    for key in differ:
        if key.split(": ")[0] in in_file ^ on_server:
            continue
        if key not in found:
            print(f"{key}: {expected[key]!r} in the file, nothing on the server")
        elif key not in expected:
            print(f"{key}: nothing in the file, {found[key]!r} on the server")
        else:
            print(f"{key}: {expected[key]!r} in the file, {found[key]!r} on the server")
    print(f"{len(expected.keys() | found.keys())} facts compared, {len(differ)} differ")
    return 1 if differ else 0


def summary(catalog):
    return f"{len(catalog['collections'])} collections and {len(catalog['products'])} products"


def run(doc, option, default, explanation, connect, check, facts):
    """The program: `connect(url, value of the option)` makes the API, `check` refuses a bad file,
    `facts` are what both sides have to agree about."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=["export", "load", "verify"])
    parser.add_argument("file")
    parser.add_argument("--url", default="http://localhost:8080")
    required = default is None
    parser.add_argument(option, dest="option", metavar=option.strip("-").upper(), default=default,
                        required=required, help=explanation)  # fmt: skip
    options = parser.parse_args()
    try:
        return command(options, connect(options.url, options.option), check, facts)
    except (Problem, OSError) as error:
        sys.exit(f"error: {error}")
    except ValueError as error:
        sys.exit(f"error: {options.file}: {error}")


def command(options, api, check, facts):
    if options.command == "export":
        catalog = api.export()
        with open(options.file, "w", encoding="utf-8") as file:
            json.dump(catalog, file, indent=1, ensure_ascii=False)
        print(f"{summary(catalog)} exported to {options.file}")
        return 0
    with open(options.file, encoding="utf-8") as file:
        catalog = json.load(file)
    require(catalog, ["collections", "products"], options.file)
    check(catalog)
    if options.command == "load":
        api.load(catalog)
        print(f"{summary(catalog)} loaded from {options.file}")
        return 0
    return compare(facts(catalog), facts(api.export_as(catalog)))
