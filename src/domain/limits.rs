//! Limits on requests and stored data. Each is a setting, with the default value that is given
//! here.

use super::field::EntryKind;

/// The limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Characters of a name, a title, a slug or a file name.
    pub name_chars: usize,
    /// Characters of a description or an SEO text.
    pub text_chars: usize,
    /// Locales of a collection.
    pub locales: usize,
    /// Bytes of a collection's properties together.
    pub collection_bytes: usize,
    /// Keywords of a collection in one locale.
    pub keywords: usize,
    /// Images of a collection.
    pub images: usize,
    /// Custom properties of a collection.
    pub custom_properties: usize,
    /// Bytes of a collection's custom properties together, as JSON.
    pub custom_property_bytes: usize,
    /// Bytes of a product's attributes together, as JSON.
    pub product_bytes: usize,
    /// Tags of a product.
    pub product_tags: usize,
    /// Variants of a product.
    pub product_variants: usize,
    /// Prices of a product.
    pub product_prices: usize,
    /// Rules of a collection, conditions and groups together; comparisons of a filter.
    pub conditions: usize,
    /// Levels of groups in a collection's rules.
    pub rule_depth: usize,
    /// The maximum number of references in a chain of collections, each referencing the next.
    pub rule_chain: usize,
    /// Collections of a tenant, without the roots.
    pub collections: usize,
    /// Parents of a collection.
    pub parents: usize,
    /// Levels of collections below a root.
    pub depth: usize,
    /// Mutations of a request.
    pub mutations: usize,
    /// Ids that the mutations of a request name together.
    pub mutation_ids: usize,
    /// Items of a page.
    pub page_size: usize,
    /// Bytes that are read at a time for a response with several items, and bytes of a page in
    /// gRPC.
    pub page_bytes: usize,
    /// Ids that a read or a filter names.
    pub ids: usize,
    /// Paths from the roots that a response lists for a collection.
    pub paths: usize,
    /// Descendants of collections that a response shows.
    pub expanded: usize,
    /// Bytes of the descendants that a response shows.
    pub expanded_bytes: usize,
    /// Candidates that a list examines one by one.
    pub scanned: usize,
    /// Lists from which one transaction removes products.
    pub lists: usize,
    /// Products over which a collection's rules are evaluated in one transaction, and memberships
    /// of smart collections that change in one.
    pub synchronous_products: usize,
    /// Lists of smart collections that one transaction changes.
    pub synchronous_changes: usize,
    /// Includes of a smart collection.
    pub includes: usize,
    /// Excludes of a smart collection.
    pub excludes: usize,
    /// Pins of a smart collection.
    pub pins: usize,
    /// Bytes of a response that is stored for retries.
    pub kept_bytes: usize,
}

impl Limits {
    /// The maximum number of rule entries of a kind.
    pub fn entries(&self, kind: EntryKind) -> usize {
        match kind {
            EntryKind::Include => self.includes,
            EntryKind::Exclude => self.excludes,
            EntryKind::Pin => self.pins,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            name_chars: 255,
            text_chars: 65_536,
            locales: 64,
            collection_bytes: 3 * 1_024 * 1_024,
            keywords: 250,
            images: 100,
            custom_properties: 100,
            custom_property_bytes: 65_536,
            product_bytes: 262_144,
            product_tags: 250,
            product_variants: 250,
            product_prices: 1_000,
            conditions: 500,
            rule_depth: 8,
            rule_chain: 8,
            collections: 100_000,
            parents: 32,
            depth: 32,
            mutations: 1_000,
            mutation_ids: 100_000,
            page_size: 1_000,
            page_bytes: 4 << 20,
            ids: 1_000,
            paths: 1_000,
            expanded: 20_000,
            expanded_bytes: 32 << 20,
            scanned: 10_000,
            lists: 10_000,
            synchronous_products: 100_000,
            synchronous_changes: 10_000,
            includes: 10_000,
            excludes: 10_000,
            pins: 1_000,
            kept_bytes: 64 << 10,
        }
    }
}
