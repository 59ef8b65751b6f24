//! The error codes of this dialect, one row per code with the condition for it.
//!
//! Codes of five or six digits, and their messages, are Oracle's. If Oracle has no suitable one,
//! the code is the HTTP status: such codes are this service's own, and can't be confused with
//! Oracle's.

use http::StatusCode;

/// An error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The number that clients compare.
    pub number: &'static str,
    /// The status of a response with this code.
    pub status: StatusCode,
    /// The beginning of the message.
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

    /// Products can't be added to collections because of an internal error.
    ASSIGN_INTERNAL = "20007", INTERNAL_SERVER_ERROR, "Assign product to collections Internal Error";
    /// The request names no collections to add a product to.
    NO_COLLECTIONS = "20008", BAD_REQUEST, "The collections property is missing";
    /// The product in the path is not registered, and in no collection.
    PRODUCT_INVALID = "20031", BAD_REQUEST, "Product Id is invalid or non-existent";
    /// The parent to join or to leave, in a request that moves a collection, is not a collection's
    /// id.
    MOVE_ID_INVALID = "20071", BAD_REQUEST, "Collection Id is invalid or non-existent";
    /// A root would get a parent.
    ROOT_MOVED = "20079", BAD_REQUEST, "A root collection may not be moved";
    /// A request to move a collection does not name the collection.
    NO_CHILD = "20080", BAD_REQUEST, "The child collection is null or empty";
    /// The collection to move does not exist.
    CHILD_INVALID = "20081", BAD_REQUEST, "Cannot find the child collection";
    /// The collection is already where it is to be moved.
    MOVED_NOWHERE = "20082", BAD_REQUEST, "The collection is already at that location";
    /// A collection would become its own ancestor.
    CIRCULAR = "20083", BAD_REQUEST, "Cannot be assigned to parent collection because it would create a circular collection structure";
    /// An index in `productMap`, or of a collection to move, is not an integer, beyond the end of
    /// the list, or repeated.
    INVALID_INDEX = "20084", BAD_REQUEST, "Invalid index provided. Index should be -1 or greater";
    /// A named parent is empty, does not exist, or is not a parent of the collection that is to
    /// leave it.
    NO_PARENT = "20085", BAD_REQUEST, "Collection does not have parent collection";
    /// A request to link a collection does not name a parent.
    NO_PARENT_TO_LINK = "20086", BAD_REQUEST, "The parent to link is null or empty";
    /// A request to move, reorder or unlink a collection does not name a parent.
    NO_PARENT_TO_UPDATE = "20087", BAD_REQUEST, "The parent to update is null or empty";
    /// An operation on links is unknown.
    UNKNOWN_MOVE = "20088", BAD_REQUEST, "Invalid operation";
    /// An internal error occurred while a collection was moved, or products were appended, removed
    /// or reordered.
    CHILDREN_INTERNAL = "20089", INTERNAL_SERVER_ERROR, "Organize child Internal Error";
    /// The id in the path is blank, in a request about products.
    PRODUCTS_ID_EMPTY = "20090", BAD_REQUEST, "Collection Id passed is null or empty";
    /// The id in the path is malformed, or not a collection's, in a request about products.
    PRODUCTS_ID_INVALID = "20091", BAD_REQUEST, "Collection Id is invalid or non-existent";
    /// A request to append, remove or reorder products names none.
    NO_PRODUCTS = "20092", BAD_REQUEST, "No products provided.";
    /// All products to append are in the collection already.
    ALL_THERE = "20093", BAD_REQUEST, "All products are already in the parent collection";
    /// A product's id is malformed, or a product to reorder is not in the collection.
    NO_SUCH_PRODUCT = "20094", BAD_REQUEST, "Cannot find the product for the given product id";
    /// An internal error occurred while a collection was created or updated.
    CATEGORY_INTERNAL = "20130", INTERNAL_SERVER_ERROR, "category Internal Error";
    /// The id in the path is malformed, or not a collection's.
    ID_INVALID = "20140", BAD_REQUEST, "Collection Id is invalid or non-existent";
    /// The id in the path is blank.
    ID_EMPTY = "20141", BAD_REQUEST, "Collection Id passed is null or empty";
    /// The id of a collection to delete is blank.
    DELETE_ID_EMPTY = "20160", BAD_REQUEST, "Collection Id passed is null or empty";
    /// The id of a collection to delete is not a collection's.
    DELETE_ID_INVALID = "20161", BAD_REQUEST, "Collection Id is invalid or non-existent";
    /// A collection to delete has child collections, or rules of other collections refer to it.
    DELETE_CHILDREN = "20162", BAD_REQUEST, "The collection cannot be deleted";
    /// An internal error occurred while a collection was deleted.
    DELETE_INTERNAL = "20169", INTERNAL_SERVER_ERROR, "Delete collection Internal Error";
    /// `type` or `op` is missing, unknown, or contradicts the other; or the request would change
    /// `active` of a root, or the products of a smart collection.
    INVALID_OPERATION = "20202", BAD_REQUEST, "Invalid Operation";
    /// A root would be deleted.
    ROOT_DELETED = "200228", BAD_REQUEST, "A root collection may not be deleted";
    /// An internal error occurred elsewhere.
    INTERNAL = "20999", INTERNAL_SERVER_ERROR, "Internal Error";
    /// A field or a property has an invalid value: it has the wrong type, exceeds a limit, is
    /// required and missing, or another collection has it.
    INVALID_INPUT = "25014", BAD_REQUEST, "Convert Input Property Error";

    /// An image's name is empty.
    IMAGE_NAME_EMPTY = "26106", BAD_REQUEST, "The image name was empty.";
    /// An image's path is empty.
    IMAGE_PATH_EMPTY = "26107", BAD_REQUEST, "The image path was empty.";
    /// An image's path does not start with a slash.
    IMAGE_PATH_START = "26108", BAD_REQUEST, "The image path was invalid. It must start with a \"/\".";
    /// An image's path has another ending, in upper or lower case.
    IMAGE_PATH_END = "26109", BAD_REQUEST, "The image path was invalid. It must end with \".gif\", \".jpg\" or \".png\".";
    /// An image's path has a backslash.
    IMAGE_PATH_BACKSLASH = "26110", BAD_REQUEST, "The image path was invalid. It cannot contain a backslash.";
    /// An image's `repositoryId` is not that of one of the collection's images.
    IMAGE_UNKNOWN = "26113", BAD_REQUEST, "Could not get item for update";
    /// An image is not an object.
    IMAGE_TYPE = "26116", BAD_REQUEST, "Update images error (invalid item type)";

    /// A move lacks an index, has one that is not an integer or beyond the end of the list, or its
    /// range ends before it starts.
    INVALID_RANGE = "37202", BAD_REQUEST, "Invalid move products range";
    /// An internal error occurred while products were moved.
    MOVE_INTERNAL = "37203", INTERNAL_SERVER_ERROR, "Internal Error";

    /// A header or the query is invalid, or the body is not a JSON object.
    BAD_REQUEST = "400", BAD_REQUEST, "Bad Request";
    /// The credentials are missing or invalid.
    UNAUTHORIZED = "401", UNAUTHORIZED, "Unauthorized";
    /// The credential lacks a scope, or a collection is to be created for an account that it is not
    /// authorized for.
    FORBIDDEN = "403", FORBIDDEN, "Forbidden";
    /// No route has this path.
    NOT_FOUND = "404", NOT_FOUND, "Not Found";
    /// The path does not support the method.
    METHOD_NOT_ALLOWED = "405", METHOD_NOT_ALLOWED, "Method Not Allowed";
    /// `If-Match` is not the collection's current etag.
    PRECONDITION_FAILED = "412", PRECONDITION_FAILED, "Precondition Failed";
    /// The body is over the limit.
    TOO_LARGE = "413", PAYLOAD_TOO_LARGE, "Payload Too Large";
    /// The content type of the body is not JSON.
    UNSUPPORTED_MEDIA_TYPE = "415", UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type";
    /// The caller or the tenant exceeds its rate limit.
    TOO_MANY_REQUESTS = "429", TOO_MANY_REQUESTS, "Too Many Requests";
    /// The service is overloaded, or the database is unreachable, overloaded or full; a retry may
    /// succeed.
    UNAVAILABLE = "503", SERVICE_UNAVAILABLE, "Service Unavailable";
    /// The request timed out.
    TIMEOUT = "504", GATEWAY_TIMEOUT, "Gateway Timeout";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_are_unique() {
        let mut numbers: Vec<_> = ALL.iter().map(|code| code.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ALL.len());
    }

    #[test]
    fn three_digit_error_codes_equal_the_http_status() {
        for code in ALL.iter().filter(|code| code.number.len() == 3) {
            assert_eq!(code.number, code.status.as_str());
        }
    }
}
