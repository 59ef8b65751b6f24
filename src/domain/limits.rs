//! The limits that hold for requests. Each is a setting; the defaults stand in
//! `config`.

/// How large things may be.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Characters of a name, a display name, a slug, an image name.
    pub name_chars: usize,
    /// Characters of a description or an SEO text.
    pub text_chars: usize,
    /// Locales of a collection.
    pub locales: usize,
    /// Keywords of a collection.
    pub keywords: usize,
    /// Images of a collection.
    pub images: usize,
    /// Custom properties of a collection.
    pub custom_properties: usize,
    /// Bytes of a collection's custom properties together, as JSON.
    pub custom_property_bytes: usize,
    /// Bytes of a product's attributes together, as JSON.
    pub product_bytes: usize,
    /// Conditions of a collection's rules.
    pub conditions: usize,
    /// Collections of a tenant, its roots not counted.
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
    /// Ids that a read or a filter names.
    pub ids: usize,
    /// Paths from the roots that an answer lists for a collection.
    pub paths: usize,
    /// Collections that an answer shows below others.
    pub expanded: usize,
}
