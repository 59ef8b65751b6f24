//! Where in a request a fault is. The domain says which field; each protocol spells it in
//! its own words, and matches every one.

use std::fmt;

use super::locale::Locale;

/// A field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldPath {
    /// A field that only one protocol has, in that protocol's spelling.
    Own(String),
    /// The tenant.
    Tenant,
    /// The id of a collection to be created.
    Id,
    /// The internal name.
    InternalName,
    /// The slug.
    Slug,
    /// The collection as a whole.
    Collection,
    /// A part of the rules, by the way to it from the root.
    Rules(Vec<RulePart>),
    /// The order of the products of a smart collection.
    Sort,
    /// The products that a smart collection is to name, for that.
    Entries(EntryKind),
    /// The one of them at that index.
    Entry(usize),
    /// The texts of all locales together.
    Texts,
    /// The display name, which some locale must have.
    DisplayName,
    /// A text of one locale.
    Text(Locale, TextField),
    /// The keywords of one locale, or the one at that index.
    Keywords(Locale, Option<usize>),
    /// The images together.
    Images,
    /// A part of the image at that index.
    Image(usize, ImagePart),
    /// The custom properties.
    CustomProperties,
    /// The catalog.
    CatalogId,
    /// The parents.
    ParentIds,
    /// The mutations together.
    Mutations,
    /// The ids that the mutations name together.
    MutationIds,
    /// A part of the mutation at that index.
    Mutation(usize, MutationPart),
    /// The ids that are read or deleted.
    Ids,
    /// The collections that products join or leave.
    CollectionIds,
    /// The products together.
    Products,
    /// A part of the product at that index.
    Product(usize, ProductPart),
    /// A filter's text that the display name must contain.
    FilterDisplayName,
    /// A filter's text that the title must contain.
    FilterTitle,
    /// A filter's ids.
    FilterIds,
    /// A filter's collections.
    FilterCollections,
    /// A filter's expression.
    FilterExpression,
    /// The candidates of a scan.
    Scanned,
    /// How many levels below a collection are returned.
    Depth,
    /// Whether a list shows the paths from the roots.
    Paths,
    /// The index that a page starts at.
    StartIndex,
    /// The index that a collection moves to.
    Index,
    /// The idempotency key.
    RequestId,
}

/// A step on the way to a part of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulePart {
    /// The rules of the group that is combined so.
    Group(Combinator),
    /// The rule at that index in the group that is combined so.
    Rule(Combinator, usize),
    /// The condition's field.
    Field,
    /// The condition's operator.
    Operator,
    /// The condition's operand.
    Operand,
}

/// A part of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProductPart {
    /// Its id.
    Id,
    /// Its title.
    Title,
    /// Its slug.
    Slug,
    /// Its type.
    Type,
    /// Its attributes.
    Attributes,
    /// One of its details.
    Details(DetailsField),
    /// The tag at that index.
    Tag(usize),
    /// A field of the variant at that index.
    Variant(usize, VariantField),
    /// A field of the price at that index.
    Price(usize, PriceField),
    /// The facts that its details come to.
    Facts,
}

impl ProductPart {
    /// The fields of a product.
    pub const FIELDS: [Self; 14] = [
        Self::Id,
        Self::Title,
        Self::Slug,
        Self::Type,
        Self::Attributes,
        Self::Details(DetailsField::Vendor),
        Self::Details(DetailsField::Status),
        Self::Details(DetailsField::Available),
        Self::Details(DetailsField::Tags),
        Self::Details(DetailsField::Variants),
        Self::Details(DetailsField::Prices),
        Self::Details(DetailsField::Inventory),
        Self::Details(DetailsField::Created),
        Self::Details(DetailsField::Updated),
    ];
}

/// A field of [`super::details::Details`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DetailsField {
    /// The vendor.
    Vendor,
    /// The status.
    Status,
    /// Whether it can be bought.
    Available,
    /// The tags together.
    Tags,
    /// The variants together.
    Variants,
    /// The prices together.
    Prices,
    /// The quantity in stock of the whole product.
    Inventory,
    /// When its master created it.
    Created,
    /// When its master last changed it.
    Updated,
}

/// A field of [`super::details::Variant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VariantField {
    /// The id.
    Id,
    /// The title.
    Title,
    /// The quantity in stock.
    Inventory,
}

/// A field of [`super::details::Price`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PriceField {
    /// The id.
    Id,
    /// The variant's id.
    VariantId,
    /// The title.
    Title,
    /// The amount.
    Amount,
    /// The currency.
    Currency,
    /// The price before a reduction.
    CompareAt,
    /// The quantity in stock.
    Inventory,
}

/// One of the texts of a locale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextField {
    /// The name that shoppers see.
    DisplayName,
    /// The description.
    Description,
    /// The long description.
    LongDescription,
    /// The page title for search engines.
    SeoTitle,
    /// The page description for search engines.
    SeoDescription,
    /// The page keywords for search engines.
    SeoKeywords,
    /// The slug in page addresses; not unique.
    SeoUrlSlug,
}

/// One of the texts of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageText {
    /// The alternative text.
    AltText,
    /// The title.
    Title,
}

impl ImageText {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::AltText, Self::Title];
}

/// A part of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImagePart {
    /// Its id.
    Id,
    /// Its file name.
    FileName,
    /// Its path.
    Path,
    /// Its URL.
    Url,
    /// Its texts together.
    Texts,
    /// One of its texts.
    Text(Locale, ImageText),
}

/// The operations, without what they apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`super::children::Mutation::Append`].
    Append,
    /// [`super::children::Mutation::Insert`].
    Insert,
    /// [`super::children::Mutation::Remove`].
    Remove,
    /// [`super::children::Mutation::MoveRange`].
    MoveRange,
    /// [`super::children::Mutation::MoveIds`].
    MoveIds,
    /// [`super::children::Mutation::Reorder`].
    Reorder,
    /// [`super::children::Mutation::Replace`].
    Replace,
}

/// A field of a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MutationPart {
    /// Which operation it is.
    pub operation: Operation,
    /// Which field of it.
    pub field: MutationField,
}

/// The fields that mutations have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MutationField {
    /// The ids.
    Ids,
    /// The index that the position names.
    Index,
    /// The child that the position names: before it.
    Before,
    /// The child that the position names: after it.
    After,
    /// The first of a range.
    First,
    /// The last of a range.
    Last,
    /// The placements.
    Placements,
    /// The id of the placement at that index.
    PlacementId(usize),
    /// The index of the placement at that index.
    PlacementIndex(usize),
}

/// What a product is named for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// It is in the collection, whether it matches the rules or not.
    Include,
    /// It is not in the collection, whether it matches the rules or not.
    Exclude,
    /// While it is in the collection, it is at its index.
    Pin,
}

impl EntryKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Include, Self::Exclude, Self::Pin];

    /// The word for several of them.
    pub fn name(self) -> &'static str {
        match self {
            Self::Include => "includes",
            Self::Exclude => "excludes",
            Self::Pin => "pins",
        }
    }
}

/// How rules are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Combinator {
    /// All must hold.
    All,
    /// At least one must hold.
    Any,
    /// None may hold.
    None,
}

impl From<&str> for FieldPath {
    fn from(own: &str) -> Self {
        Self::Own(own.into())
    }
}

impl From<&String> for FieldPath {
    fn from(own: &String) -> Self {
        Self::Own(own.clone())
    }
}

impl From<String> for FieldPath {
    fn from(own: String) -> Self {
        Self::Own(own)
    }
}

/// For the log alone: what a caller reads is its protocol's spelling.
impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Own(own) = self {
            return f.write_str(own);
        }
        write!(f, "{self:?}")
    }
}
