//! The error codes of this dialect: one row a code, with the condition for it.
//!
//! Codes of five digits or six are Oracle's, with Oracle's words for them. Where Oracle has
//! none that fits, the code is the HTTP status: such a code is this service's own and
//! can't be mistaken for one of Oracle's.

use http::StatusCode;

/// An error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// What clients compare.
    pub number: &'static str,
    /// The status of an answer that has this code alone.
    pub status: StatusCode,
    /// What the message starts with.
    pub words: &'static str,
}

macro_rules! codes {
    ($($(#[doc = $when:literal])+ $name:ident = $number:literal, $status:ident, $words:literal;)+) => {
        $(
            $(#[doc = $when])+
            pub const $name: Code = Code {
                number: $number,
                status: StatusCode::$status,
                words: $words,
            };
        )+

        #[cfg(test)]
        const ALL: &[Code] = &[$($name),+];
    };
}

codes! {
    /// A create or an update has no language header, or an empty one.
    LANGUAGE_MISSING = "82001", BAD_REQUEST, "Required header is missing: x-ccasset-language";

    /// Products can't be put into collections for a fault of the service.
    ASSIGN_INTERNAL = "20007", INTERNAL_SERVER_ERROR, "Assign product to collections Internal Error";
    /// No collections are named to put a product into.
    NO_COLLECTIONS = "20008", BAD_REQUEST, "The collections property is missing";
    /// A product that is named in the path is not known and in no collection.
    PRODUCT_INVALID = "20031", BAD_REQUEST, "Product Id is invalid or non-existent";
    /// A parent to join or to leave, of a collection that is moved, is not that of a
    /// collection.
    MOVE_ID_INVALID = "20071", BAD_REQUEST, "Collection Id is invalid or non-existent";
    /// A root would be put under a parent.
    ROOT_MOVED = "20079", BAD_REQUEST, "A root collection may not be moved";
    /// A collection is to be moved, and none is named.
    NO_CHILD = "20080", BAD_REQUEST, "The child collection is null or empty";
    /// A collection that is to be moved does not exist.
    CHILD_INVALID = "20081", BAD_REQUEST, "Cannot find the child collection";
    /// A collection stands already where it is to be moved.
    MOVED_NOWHERE = "20082", BAD_REQUEST, "The collection is already at that location";
    /// A collection would become its own ancestor.
    CIRCULAR = "20083", BAD_REQUEST, "Cannot be assigned to parent collection because it would create a circular collection structure";
    /// An index of `productMap`, or of a collection that is moved, is no integer, outside the
    /// list or given twice.
    INVALID_INDEX = "20084", BAD_REQUEST, "Invalid index provided. Index should be -1 or greater";
    /// A parent that is named is empty or does not exist, or is none of the collection that is
    /// to leave it.
    NO_PARENT = "20085", BAD_REQUEST, "Collection does not have parent collection";
    /// A collection is to be linked, and no parent is named.
    NO_PARENT_TO_LINK = "20086", BAD_REQUEST, "The parent to link is null or empty";
    /// A collection is to be moved, reordered or unlinked, and no parent is named.
    NO_PARENT_TO_UPDATE = "20087", BAD_REQUEST, "The parent to update is null or empty";
    /// An operation on links is not one of those there are.
    UNKNOWN_MOVE = "20088", BAD_REQUEST, "Invalid operation";
    /// The service failed while it moved a collection, or appended, removed or reordered
    /// products.
    CHILDREN_INTERNAL = "20089", INTERNAL_SERVER_ERROR, "Organize child Internal Error";
    /// The id in the path is blank, in a request about products.
    PRODUCTS_ID_EMPTY = "20090", BAD_REQUEST, "Collection Id passed is null or empty";
    /// The id in the path is not an id or not that of a collection, in a request
    /// about products.
    PRODUCTS_ID_INVALID = "20091", BAD_REQUEST, "Collection Id is invalid or non-existent";
    /// Products are to be appended, removed or reordered, and none is named.
    NO_PRODUCTS = "20092", BAD_REQUEST, "No products provided.";
    /// All products to append are in the collection.
    ALL_THERE = "20093", BAD_REQUEST, "All products are already in the parent collection";
    /// A product is named by what can't be an id, or is to be reordered and not in
    /// the collection.
    NO_SUCH_PRODUCT = "20094", BAD_REQUEST, "Cannot find the product for the given product id";
    /// The service failed while it created or updated a collection.
    CATEGORY_INTERNAL = "20130", INTERNAL_SERVER_ERROR, "category Internal Error";
    /// The id in the path is not an id or not that of a collection.
    ID_INVALID = "20140", BAD_REQUEST, "Collection Id is invalid or non-existent";
    /// The id in the path is blank.
    ID_EMPTY = "20141", BAD_REQUEST, "Collection Id passed is null or empty";
    /// The id of a collection to delete is blank.
    DELETE_ID_EMPTY = "20160", BAD_REQUEST, "Collection Id passed is null or empty";
    /// The id of a collection to delete is not that of one.
    DELETE_ID_INVALID = "20161", BAD_REQUEST, "Collection Id is invalid or non-existent";
    /// A collection to delete has child collections, or the rules of others name it.
    DELETE_CHILDREN = "20162", BAD_REQUEST, "The collection has child collections";
    /// The service failed while it deleted a collection.
    DELETE_INTERNAL = "20169", INTERNAL_SERVER_ERROR, "Delete collection Internal Error";
    /// `type` or `op` is missing or not one of those there are, they contradict each
    /// other, `active` of a root would change, or products of a smart collection would.
    INVALID_OPERATION = "20202", BAD_REQUEST, "Invalid Operation";
    /// A root would be deleted.
    ROOT_DELETED = "200228", BAD_REQUEST, "A root collection may not be deleted";
    /// The service failed, and not at a write of a collection.
    INTERNAL = "20999", INTERNAL_SERVER_ERROR, "Internal Error";
    /// A field or a property has a value that can't be taken: of another type, over a
    /// limit, required and missing, taken by another collection.
    INVALID_INPUT = "25014", BAD_REQUEST, "Convert Input Property Error";

    /// An image's name is empty.
    IMAGE_NAME_EMPTY = "26106", BAD_REQUEST, "The image name was empty.";
    /// An image's path is empty.
    IMAGE_PATH_EMPTY = "26107", BAD_REQUEST, "The image path was empty.";
    /// An image's path starts with something else.
    IMAGE_PATH_START = "26108", BAD_REQUEST, "The image path was invalid. It must start with a \"/\".";
    /// An image's path ends in something else, upper or lower case.
    IMAGE_PATH_END = "26109", BAD_REQUEST, "The image path was invalid. It must end with \".gif\", \".jpg\" or \".png\".";
    /// An image's path has a backslash.
    IMAGE_PATH_BACKSLASH = "26110", BAD_REQUEST, "The image path was invalid. It cannot contain a backslash.";
    /// An image's `repositoryId` is not that of one of the collection's images.
    IMAGE_UNKNOWN = "26113", BAD_REQUEST, "Could not get item for update";
    /// An image is not an object.
    IMAGE_TYPE = "26116", BAD_REQUEST, "Update images error (invalid item type)";

    /// A move lacks an index, has one that is no integer or outside the list, or its
    /// range ends before it starts.
    INVALID_RANGE = "37202", BAD_REQUEST, "Invalid move products range";
    /// The service failed while it moved products.
    MOVE_INTERNAL = "37203", INTERNAL_SERVER_ERROR, "Internal Error";

    /// A header or the query can't be taken, or the body is not a JSON object.
    BAD_REQUEST = "400", BAD_REQUEST, "Bad Request";
    /// There is no credential, or none that is accepted.
    UNAUTHORIZED = "401", UNAUTHORIZED, "Unauthorized";
    /// The credential lacks a scope, or a collection is to be created for an account that
    /// it is not valid for.
    FORBIDDEN = "403", FORBIDDEN, "Forbidden";
    /// There is no such address.
    NOT_FOUND = "404", NOT_FOUND, "Not Found";
    /// The address does not take the method.
    METHOD_NOT_ALLOWED = "405", METHOD_NOT_ALLOWED, "Method Not Allowed";
    /// `If-Match` does not have the collection's current ETag.
    PRECONDITION_FAILED = "412", PRECONDITION_FAILED, "Precondition Failed";
    /// The body is over the limit.
    TOO_LARGE = "413", PAYLOAD_TOO_LARGE, "Payload Too Large";
    /// The body is not said to be JSON.
    UNSUPPORTED_MEDIA_TYPE = "415", UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type";
    /// The caller or the tenant asks more often than it may.
    TOO_MANY_REQUESTS = "429", TOO_MANY_REQUESTS, "Too Many Requests";
    /// The service has too much to do, or the database is gone, too busy or full; a retry
    /// may succeed.
    UNAVAILABLE = "503", SERVICE_UNAVAILABLE, "Service Unavailable";
    /// Time ran out.
    TIMEOUT = "504", GATEWAY_TIMEOUT, "Gateway Timeout";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_one_row() {
        let mut numbers: Vec<_> = ALL.iter().map(|code| code.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ALL.len());
    }

    #[test]
    fn codes_of_our_own_are_the_status() {
        for code in ALL.iter().filter(|code| code.number.len() == 3) {
            assert_eq!(code.number, code.status.as_str());
        }
    }
}
