#!/usr/bin/env python3
"""Migrates collections and products from Oracle Commerce to Endcap, or back.

    oracle.py export FILE   read everything from --url into a file
    oracle.py load FILE     write a file to --url; may be repeated
    oracle.py verify FILE   compare a file with what --url has; exit status 1 if it differs

The application key (of Endcap: an API key) is read from the environment variable APPLICATION_KEY.
Needs Python 3.8, nothing else.
"""

import json
import os
import sys
import time
import urllib.parse

from common import Problem, cleaned, entries, exists, flattened, require, run, send

PAGE = 250
# Tokens are valid for five minutes.
RENEW = 240
ROOTS = {"rootCategory", "nonNavigableCategory"}
TEXTS = ["displayName", "description", "longDescription", "keywords", "seoMetaInfo"]
# What is derived, or written by operations of its own.
READ_ONLY = {
    "ancestorCategories", "categoryIdPaths", "categoryImages", "categoryPaths", "childCategories",
    "childProducts", "creationDate", "fixedChildCategories", "fixedChildProducts",
    "fixedParentCategories", "links", "repositoryId", "route", "seoDescriptionDerived",
    "seoKeywordsDerived", "seoTitleDerived", "seoUrlSlugDerived", "parentCategories", "parentCategory",
}  # fmt: skip


class Api:
    def __init__(self, url, languages):
        self.url, self.languages = url.rstrip("/") + "/ccadmin/v1", languages.split(",")
        self.token, self.since = None, 0.0

    def login(self):
        key = os.environ.get("APPLICATION_KEY")
        if key and time.monotonic() - self.since > RENEW:
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-www-form-urlencoded"}
            body = b"grant_type=client_credentials"
            self.token = send("POST", self.url + "/login", headers, body)["access_token"]
            self.since = time.monotonic()

    def call(self, method, path, language=None, body=None):
        self.login()
        headers = {"Content-Type": "application/json", "X-CCAsset-Language": language or self.languages[0]}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        return send(method, self.url + path, headers, data)

    def items(self, path, more=""):
        offset = 0
        while True:
            page = self.call("GET", f"{path}?limit={PAGE}&offset={offset}{more}")
            yield from page["items"]
            if len(page["items"]) < PAGE:
                return
            offset += PAGE

    def collection(self, one, language=None):
        query = "?showCategoryPaths=false"
        return self.call("GET", f"/collections/{urllib.parse.quote(one, safe='')}{query}", language)

    def export(self):
        listed = self.items("/collections", "&showCategoryPaths=false&fields=id")
        ids = [one["id"] for one in listed]
        collections = [self.export_collection(one) for one in sorted(ROOTS | set(ids))]
        products = [
            {name: value for name, value in one.items() if name not in READ_ONLY}
            for one in self.items("/products")
        ]
        return {"languages": self.languages, "collections": collections, "products": products}

    def export_as(self, catalog):
        self.languages = catalog["languages"]
        return self.export()

    def export_collection(self, one):
        shown = {language: self.collection(one, language) for language in self.languages}
        first = shown[self.languages[0]]
        own = {name: value for name, value in first.items() if name not in READ_ONLY and name not in TEXTS}
        return {
            "id": one,
            "properties": own,
            "texts": {
                language: {name: found.get(name) for name in TEXTS} for language, found in shown.items()
            },
            "images": first.get("categoryImages") or [],
            "parents": ids(first, "fixedParentCategories"),
            "products": ids(first, "fixedChildProducts"),
            "children": ids(first, "fixedChildCategories"),
        }

    def load(self, catalog):
        self.languages = catalog["languages"]
        for product in catalog["products"]:
            path = f"/products/{urllib.parse.quote(product['id'], safe='')}"
            properties = {name: value for name, value in product.items() if name != "productType"}
            body = {"properties": properties, "productType": product.get("productType") or ""}
            if exists(lambda: self.call("GET", path)):
                self.call("PUT", path, body=body)
            else:
                self.call("POST", "/products", body=body)
        for collection in parents_first(catalog["collections"]):
            self.load_collection(collection)
        for collection in catalog["collections"]:
            self.link(collection)
        for collection in catalog["collections"]:
            self.order_children(collection)

    def load_collection(self, collection):
        one, first = collection["id"], self.languages[0]
        path = f"/collections/{urllib.parse.quote(one, safe='')}"
        properties = {**collection["properties"], **collection["texts"][first]}
        body = {"properties": properties, "categoryImages": collection["images"]}
        if not collection["images"]:
            del body["categoryImages"]
        if exists(lambda: self.collection(one)):
            self.call("PUT", path, body=body)
        else:
            parents = collection["parents"]
            body.update({"parentCategoryIds": parents} if parents else {"orphaned": True})
            self.call("POST", "/collections", body=body)
        for language in self.languages[1:]:
            self.call("PUT", path, language, {"properties": collection["texts"][language]})
        wanted, found = collection["products"], ids(self.collection(one), "fixedChildProducts")
        missing = [product for product in wanted if product not in set(found)]
        gone = [product for product in found if product not in set(wanted)]
        if missing:
            self.call("PUT", path, body={"type": "appendProducts", "products": missing})
        if gone:
            self.call("PUT", path, body={"type": "updateProducts", "op": "remove", "products": gone})
        if [product for product in found + missing if product not in set(gone)] != wanted:
            body = {"type": "updateProducts", "op": "reorder", "productMap": wanted}
            self.call("PUT", path, body=body)

    def link(self, collection):
        """Gives a collection that was there before its parents."""
        child, wanted = collection["id"], collection["parents"]
        found = ids(self.collection(child), "fixedParentCategories")
        for parent in wanted:
            if parent not in found:
                body = {"child": child, "parent": parent, "operation": "link"}
                self.call("PUT", "/collections", body=body)
        for parent in found:
            if parent not in wanted:
                body = {"child": child, "fromParent": parent, "operation": "unlink"}
                self.call("PUT", "/collections", body=body)

    def order_children(self, collection):
        parent, wanted = collection["id"], collection["children"]
        there = ids(self.collection(parent), "fixedChildCategories")
        for index, child in enumerate(wanted):
            # A child that is in its place already is an error.
            if there[index] != child:
                body = {"child": child, "parent": parent, "index": index, "operation": "reorder"}
                self.call("PUT", "/collections", body=body)
                there.remove(child)
                there.insert(index, child)


def ids(found, name):
    return [one["repositoryId"] for one in found.get(name) or []]


def parents_first(collections):
    by_id = {one["id"]: one for one in collections}
    done, ordered = set(), []

    def add(one):
        if one["id"] not in done:
            done.add(one["id"])
            for parent in one["parents"]:
                add(by_id[parent])
            ordered.append(one)

    for one in collections:
        add(one)
    return ordered


def check(catalog):
    """Refuses a file that could not be loaded whole."""
    require(catalog, ["languages"], "the file")
    fields = ["properties", "texts", "images", "parents", "products", "children"]
    by_id = {one["id"]: one for one in entries(catalog, "collections", "id", fields)}
    entries(catalog, "products", "id", [])
    for one in by_id.values():
        require(one["texts"], catalog["languages"], f"texts of collection {one['id']}")
        for there, other, back in [("parents", "parent", "children"), ("children", "child", "parents")]:
            for related in one[there]:
                if related not in by_id or one["id"] not in by_id[related][back]:
                    raise Problem(
                        f"collection {one['id']} has the {other} {related}, which is not in the file "
                        f"or does not have {one['id']} in its {back}"
                    )


def facts(catalog):
    """What has to be the same on both sides, by what it is about."""
    all_facts = {}
    for one in catalog["collections"]:
        about = f"collection {one['id']}"
        # A text that a language lacks is read in the first language.
        fallback = cleaned(one["texts"][catalog["languages"][0]])
        for language in catalog["languages"]:
            texts = dict(flattened(fallback, f"{about}: texts.{language}"))
            texts.update(flattened(cleaned(one["texts"][language]), f"{about}: texts.{language}"))
            all_facts.update(texts)
        for name in ["properties", "images", "parents", "products", "children"]:
            all_facts.update(flattened(cleaned(one[name]), f"{about}: {name}"))
    for one in catalog["products"]:
        all_facts.update(flattened(cleaned(one), f"product {one['id']}: properties"))
    return all_facts


if __name__ == "__main__":
    languages = "separated by commas, the default locale first; load and verify take those of the file"
    sys.exit(run(__doc__, "--languages", "en", languages, Api, check, facts))
