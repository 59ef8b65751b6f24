#!/usr/bin/env python3
"""Migrates a location's collections and products from HighLevel to Endcap, or back.

    highlevel.py export FILE   read everything from --url into a file
    highlevel.py load FILE     write a file to Endcap at --url; may be repeated
    highlevel.py verify FILE   compare a file with what --url has; exit status 1 if it differs

The credential is read from the environment variable TOKEN. Needs Python 3.8, nothing else.
"""

import argparse
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

PAGE = 100


class Api:
    def __init__(self, url, location):
        self.url, self.location = url.rstrip("/"), location

    def call(self, method, path, query=None, body=None):
        url = self.url + path
        if query:
            url += "?" + urllib.parse.urlencode(query)
        data = None if body is None else json.dumps(body).encode()
        headers = {"Version": "2021-07-28", "Content-Type": "application/json"}
        if "TOKEN" in os.environ:
            headers["Authorization"] = "Bearer " + os.environ["TOKEN"]
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            sys.exit(f"{method} {url}: {error.code} {error.read().decode()}")

    def pages(self, path, query, items):
        """All items of a list that is read page by page."""
        offset = 0
        while True:
            page = self.call("GET", path, {**query, "limit": PAGE, "offset": offset})[items]
            yield from page
            if len(page) < PAGE:
                return
            offset += PAGE

    def export(self):
        here = {"altId": self.location, "altType": "location"}
        collections = list(self.pages("/products/collections", here, "data"))
        listing = {"locationId": self.location}
        for collection in collections:
            members = {**listing, "collectionIds": collection["_id"]}
            products = self.pages("/products/", members, "products")
            collection["productIds"] = [product["_id"] for product in products]
        products = list(self.pages("/products/", listing, "products"))
        for product in products:
            path = f"/products/{quoted(product['_id'])}/price"
            product["prices"] = list(self.pages(path, listing, "prices"))
        return {"collections": collections, "products": products}

    def load(self, catalog):
        products = catalog["products"]
        # HighLevel's API creates products under ids of its own. Endcap's keeps the ids.
        for start in range(0, len(products), 1000):
            some = products[start : start + 1000]
            body = {
                "tenantId": self.location,
                "products": [{"id": one["_id"], "title": one["name"]} for one in some],
            }
            self.call("POST", "/v1/products:upsert", body=body)
        for product in products:
            self.load_product(product)
        # The oldest first: lists have the newest first.
        for collection in reversed(catalog["collections"]):
            self.load_collection(collection)

    def load_product(self, product):
        path = f"/products/{quoted(product['_id'])}"
        # Collections name their products, not the other way round: that keeps the order.
        own = {"_id", "prices", "collectionIds", "createdAt", "updatedAt"}
        body = {name: value for name, value in product.items() if name not in own}
        self.call("PUT", path, body={**body, "locationId": self.location})
        there = self.call("GET", path + "/price", {"locationId": self.location})["prices"]
        if not there:
            for price in product["prices"]:
                body = {name: value for name, value in price.items() if name != "_id"}
                self.call("POST", path + "/price", body={**body, "locationId": self.location})

    def load_collection(self, collection):
        names = ["name", "slug", "image", "seo", "type", "rules", "productIds"]
        body = {name: collection[name] for name in names if name in collection}
        body.update(altId=self.location, altType="location")
        if body.get("type") == "smart":
            del body["productIds"]
        else:
            body.pop("rules", None)
        path = f"/products/collections/{collection['_id']}"
        if self.call("GET", path, {"altId": self.location}):
            self.call("PUT", path, body=body)
        else:
            body["collectionId"] = collection["_id"]
            self.call("POST", "/products/collections", body=body)


def quoted(text):
    return urllib.parse.quote(text, safe="")


def facts(catalog):
    """What has to be the same on both sides, by what it is about."""
    all_facts = {}
    for one in catalog["collections"]:
        for name in ["name", "slug", "image", "seo", "productIds"]:
            all_facts[f"collection {one['_id']}: {name}"] = one.get(name)
    for one in catalog["products"]:
        prices = [(price["name"], price["currency"], price["amount"]) for price in one["prices"]]
        all_facts[f"product {one['_id']}: name"] = one["name"]
        all_facts[f"product {one['_id']}: prices"] = prices
    return all_facts


def verify(expected, found):
    expected, found = facts(expected), facts(found)
    differ = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    for key in differ:
        print(f"{key}: expected {expected.get(key)}, found {found.get(key)}")
    print(f"{len(expected)} facts compared, {len(differ)} differ")
    return 1 if differ else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=["export", "load", "verify"])
    parser.add_argument("file")
    parser.add_argument("--url", default="http://localhost:8080")
    parser.add_argument("--location", default="default", help="the location: in Endcap the tenant")
    options = parser.parse_args()
    api = Api(options.url, options.location)
    if options.command == "export":
        with open(options.file, "w", encoding="utf-8") as file:
            json.dump(api.export(), file, indent=1, ensure_ascii=False)
        return 0
    with open(options.file, encoding="utf-8") as file:
        catalog = json.load(file)
    if options.command == "load":
        api.load(catalog)
        return 0
    return verify(catalog, api.export())


if __name__ == "__main__":
    sys.exit(main())
