#!/usr/bin/env python3
"""Migrates a location's collections and products from HighLevel to Endcap, or back.

    highlevel.py export FILE   read everything from --url into a file
    highlevel.py load FILE     write a file to Endcap at --url; may be repeated
    highlevel.py verify FILE   compare a file with what --url has; exit status 1 if it differs

The credential is read from the environment variable TOKEN. Needs Python 3.8, nothing else.
"""

import json
import os
import sys
import urllib.parse

from common import cleaned, entries, exists, flattened, run, send

PAGE = 100
# What each side gives by itself, and what is written by operations of its own.
OWN = {"_id", "prices", "collectionIds", "createdAt", "updatedAt", "locationId", "product"}


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
        return send(method, url, headers, data)

    def pages(self, path, query, items):
        """All items of a list that is read page by page."""
        offset = 0
        while True:
            page = self.call("GET", path, {**query, "limit": PAGE, "offset": offset})
            yield from page[items]
            if len(page[items]) < PAGE:
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

    def export_as(self, _catalog):
        return self.export()

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
        body = without(product, OWN)
        self.call("PUT", path, body={**body, "locationId": self.location})
        there = self.call("GET", path + "/price", {"locationId": self.location})["prices"]
        if prices(there) != prices(product["prices"]):
            # Created first: if one is refused, the old ones are still there.
            for price in product["prices"]:
                body = {**without(price, OWN), "locationId": self.location}
                self.call("POST", path + "/price", body=body)
            for price in there:
                gone = f"{path}/price/{quoted(price['_id'])}"
                self.call("DELETE", gone, {"locationId": self.location})

    def load_collection(self, collection):
        names = ["name", "slug", "image", "seo", "type", "rules", "productIds"]
        body = {name: collection[name] for name in names if name in collection}
        body.update(altId=self.location, altType="location")
        if body.get("type") == "smart":
            del body["productIds"]
        else:
            body.pop("rules", None)
        path = f"/products/collections/{collection['_id']}"
        if exists(lambda: self.call("GET", path, {"altId": self.location})):
            self.call("PUT", path, body=body)
        else:
            body["collectionId"] = collection["_id"]
            self.call("POST", "/products/collections", body=body)


def quoted(text):
    return urllib.parse.quote(text, safe="")


def without(entry, names):
    return {name: value for name, value in entry.items() if name not in names}


def prices(found):
    return [cleaned(without(price, OWN)) for price in found]


def check(catalog):
    """Refuses a file that could not be loaded whole."""
    entries(catalog, "collections", "_id", ["name", "slug", "productIds"])
    entries(catalog, "products", "_id", ["name", "prices"])


def facts(catalog):
    """What has to be the same on both sides, by what it is about."""
    all_facts = {}
    for one in catalog["collections"]:
        about = f"collection {one['_id']}"
        for name in ["name", "slug", "image", "seo", "rules", "productIds"]:
            all_facts.update(flattened(cleaned(one.get(name)), f"{about}: {name}"))
        all_facts[f"{about}: type"] = one.get("type") or "manual"
    for one in catalog["products"]:
        about = f"product {one['_id']}"
        all_facts.update(flattened(cleaned(without(one, OWN)), f"{about}: fields"))
        all_facts[f"{about}: prices"] = prices(one["prices"])
    return all_facts


if __name__ == "__main__":
    location = "the location: in Endcap the tenant"
    sys.exit(run(__doc__, "--location", None, location, Api, check, facts))
