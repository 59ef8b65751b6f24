//! The operations of this dialect, and the codes that depend on them: the same failure has
//! different codes in different operations.

use super::codes::{self, Code};

/// An operation on products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductOp {
    /// `appendProducts`.
    Append,
    /// `remove`.
    Remove,
    /// `move`.
    Move,
    /// `reorder`.
    Reorder,
}

/// The operation in which something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// None: the request did not reach an operation.
    None,
    /// getCollection and listCollections.
    Read,
    /// createCollection.
    Create,
    /// updateCollection.
    Update {
        /// The operation on products, if any.
        products: Option<ProductOp>,
        /// Whether it sets `active`.
        active: bool,
    },
    /// moveCollection.
    Move,
    /// deleteCollection.
    Delete,
    /// assignProducts.
    Assign,
    /// createProductAssignmentToCollections.
    AddToCollections,
    /// createProduct, getProduct and listProducts.
    Product,
}

impl Operation {
    /// The operation on products, if any.
    pub fn products(self) -> Option<ProductOp> {
        match self {
            Self::Update { products, .. } => products,
            Self::None
            | Self::Read
            | Self::Create
            | Self::Move
            | Self::Delete
            | Self::Assign
            | Self::AddToCollections
            | Self::Product => None,
        }
    }

    /// The code if the id in the path is not that of a collection.
    pub fn id_invalid(self) -> Code {
        match self {
            Self::Delete => codes::DELETE_ID_INVALID,
            Self::Move => codes::MOVE_ID_INVALID,
            Self::Assign
            | Self::AddToCollections
            | Self::Product
            | Self::Update {
                products: Some(_), ..
            } => codes::PRODUCTS_ID_INVALID,
            Self::None | Self::Read | Self::Create | Self::Update { products: None, .. } => {
                codes::ID_INVALID
            }
        }
    }

    /// The code if the id in the path is blank.
    pub fn id_empty(self) -> Code {
        if self == Self::Delete {
            return codes::DELETE_ID_EMPTY;
        }
        match self.products() {
            Some(_) => codes::PRODUCTS_ID_EMPTY,
            None => codes::ID_EMPTY,
        }
    }

    /// The code if an index is beyond the end of a list.
    pub fn bad_index(self) -> Code {
        if self == Self::Move {
            return codes::INVALID_INDEX;
        }
        match self.products() {
            Some(ProductOp::Move) => codes::INVALID_RANGE,
            Some(ProductOp::Reorder) => codes::INVALID_INDEX,
            Some(ProductOp::Append | ProductOp::Remove) | None => codes::INVALID_INPUT,
        }
    }

    /// The code if the operation would change a root in a way that is not allowed.
    pub fn root_refusal(self) -> Code {
        match self {
            Self::Update { active: true, .. }
            | Self::Update {
                products: Some(_), ..
            } => codes::INVALID_OPERATION,
            Self::Update { .. } | Self::Move => codes::ROOT_MOVED,
            Self::Delete => codes::ROOT_DELETED,
            Self::None
            | Self::Read
            | Self::Create
            | Self::Assign
            | Self::AddToCollections
            | Self::Product => codes::INVALID_INPUT,
        }
    }

    /// The code of an internal error.
    pub fn internal(self) -> Code {
        match self {
            Self::None | Self::Read | Self::Product => codes::INTERNAL,
            Self::Create => codes::CATEGORY_INTERNAL,
            Self::Delete => codes::DELETE_INTERNAL,
            Self::Move | Self::Assign => codes::CHILDREN_INTERNAL,
            Self::AddToCollections => codes::ASSIGN_INTERNAL,
            Self::Update { products, .. } => match products {
                None => codes::CATEGORY_INTERNAL,
                Some(ProductOp::Move) => codes::MOVE_INTERNAL,
                Some(ProductOp::Append | ProductOp::Remove | ProductOp::Reorder) => {
                    codes::CHILDREN_INTERNAL
                }
            },
        }
    }
}
