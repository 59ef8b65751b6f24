//! The fields of requests, for violations. The domain says which field is at fault; each protocol
//! translates that exhaustively into its own name of the field.

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
    /// A part of the rules, by its path from the root.
    Rules(Vec<RulePart>),
    /// The sort order of a smart collection.
    Sort,
    /// The rule entries of this kind together.
    Entries(EntryKind),
    /// The rule entry at that index.
    Entry(usize),
    /// Its index.
    EntryIndex(usize),
    /// The texts of all locales together.
    Texts,
    /// The display name, which at least one locale must have.
    DisplayName,
    /// A text of one locale.
    Text(Locale, TextField),
    /// The keywords of one locale: the one at that index, or all of them together.
    Keywords(Locale, Option<usize>),
    /// The images together.
    Images,
    /// A part of the image at that index.
    Image(usize, ImagePart),
    /// The custom properties.
    CustomProperties,
    /// The catalogue.
    CatalogId,
    /// The parents.
    ParentIds,
    /// The mutations together.
    Mutations,
    /// The ids of all mutations together.
    MutationIds,
    /// A part of the mutation at that index.
    Mutation(usize, MutationPart),
    /// The ids that are read or deleted.
    Ids,
    /// The collections that products are added to or removed from.
    CollectionIds,
    /// The products together.
    Products,
    /// A part of the product at that index.
    Product(usize, ProductPart),
    /// The text of a filter on the display name.
    FilterDisplayName,
    /// The text of a filter on the title.
    FilterTitle,
    /// The ids of a filter.
    FilterIds,
    /// The collections of a filter.
    FilterCollections,
    /// The expression of a filter.
    FilterExpression,
    /// The number of candidates that a scan examines.
    Scanned,
    /// How many levels below a collection are returned.
    Depth,
    /// The paths from the roots in a list.
    Paths,
    /// The index at which a page starts.
    StartIndex,
    /// The index to which a collection is moved.
    Index,
    /// The idempotency key.
    RequestId,
}

/// A step in the path to a part of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulePart {
    /// The list of rules of a group with this combinator.
    Group(Combinator),
    /// The rule at that index in a group with this combinator.
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
    /// The number of facts in its details.
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
    /// Whether it is available.
    Available,
    /// The tags together.
    Tags,
    /// The variants together.
    Variants,
    /// The prices together.
    Prices,
    /// The quantity in stock of the whole product.
    Inventory,
    /// When it was created in the master system.
    Created,
    /// When it last changed in the master system.
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
    /// The compare-at price, before a reduction.
    CompareAt,
    /// The quantity in stock.
    Inventory,
}

/// A localized text of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextField {
    /// The display name for shoppers.
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
    /// The slug for the URLs of pages; it need not be unique.
    SeoUrlSlug,
}

/// A localized text of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageText {
    /// The alternative text.
    AltText,
    /// The title.
    Title,
}

impl ImageText {
    /// All fields.
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

/// The operations, without their operands.
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
    /// The operation.
    pub operation: Operation,
    /// The field of the operation.
    pub field: MutationField,
}

/// The fields of mutations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MutationField {
    /// The ids.
    Ids,
    /// The index of the position.
    Index,
    /// The child that the position is before.
    Before,
    /// The child that the position is after.
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

/// The kinds of rule entries, which override the rules for single products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// The product is a member, whether it matches the rules or not.
    Include,
    /// The product is never a member, whether it matches the rules or not.
    Exclude,
    /// The product has a fixed index while it is a member.
    Pin,
}

impl EntryKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Include, Self::Exclude, Self::Pin];

    /// The name of the kind, in the plural.
    pub fn name(self) -> &'static str {
        match self {
            Self::Include => "includes",
            Self::Exclude => "excludes",
            Self::Pin => "pins",
        }
    }
}

/// How the rules of a group are combined.
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

/// For the log only. Callers see their protocol's name of the field.
impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Own(own) = self {
            return f.write_str(own);
        }
        write!(f, "{self:?}")
    }
}
